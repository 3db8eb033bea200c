import base64
import json
import os
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import synthetic
from sensigap import survey as stores
from sensigap.analysis.claims import COLUMNS, Settings, write_claims
from sensigap.analysis.leaderboard import COLUMNS as BOARD_COLUMNS
from sensigap.figure_names import FIGURE_SUFFIXES, Caption
from sensigap.figures import Drawn, save
from sensigap.figures.style import Marks, Painted
from sensigap.report import build
from sensigap.report.content import effect_text, p_text
from sensigap.report.timings import read_jobs, read_timings, seconds_at_work

VOID = {"meta", "link", "img", "br", "hr", "input", "source"}
ADDRESSES = {"src", "href", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """What a page holds; an element that is not closed where it should be is an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.addresses, self.images, self.ids = [], [], [], []
        self.rows, self.text, self.tags, self.sources = [], "", set(), []
        self.facts = []
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.addresses += [given[name] for name in ADDRESSES if name in given]
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "img":
            self.images.append(given)
        if tag == "source":
            self.sources.append(given)
        if tag == "tr":
            self.rows.append("")
        if tag == "dt":
            self.facts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        if {"script", "style"} & {*self.open}:
            return
        self.text += data
        if "tr" in self.open:
            self.rows[-1] += " " + data.strip()
        if {"dt", "dd"} & {*self.open}:
            self.facts[-1] = f"{self.facts[-1]} {data}".strip()


def claim(name, dataset, quantity, verdict, **given):
    """A row; `given`: key, primary, estimate, p_holm, level, remarks."""
    estimate, p_holm = given.get("estimate", 0.5), given.get("p_holm", 0.01)
    primary = given.get("primary", True)
    missing = np.isnan(estimate)
    return {
        "key": given.get("key", f"{name}.{len(quantity)}"),
        "claim": name,
        "dataset": dataset,
        "quantity": quantity,
        "primary": primary,
        "test": "Spearman",
        "n": 41,
        "architectures": 17,
        "left_out": "3 of 44 survey networks: 3 not fitted",
        "effect": "Spearman's rho",
        "estimate": estimate,
        "low": estimate - 0.25,
        "high": estimate + 0.25,
        "level": given.get("level", 0.95),
        "p": np.nan if missing else p_holm / 5,
        "p_holm": p_holm if primary and not missing else np.nan,
        "verdict": verdict,
        "remarks": given.get("remarks", ""),
    }


CLAIMS = [
    claim("C0", "digits", "gap and number of parameters", "supported", estimate=-0.5),
    claim("C0", "MNIST", "gap and number of parameters", "contradicted", p_holm=1e-9),
    claim("C0", "digits", "training loss", "too imprecise", level=0.9, p_holm=0.4),
    claim(
        "C1",
        "digits",
        "norm at the anchors, untrained",
        "none",
        key="C1.norm.untrained",
        primary=False,
    ),
    claim("C2", "digits", "gap & log10 sensitivity <all>", "not supported", p_holm=0.3),
    claim(
        "C4",
        "MNIST",
        "unit: gap",
        "too few networks",
        estimate=np.nan,
        remarks="5 of at least 20; without error: gap 0.1",
    ),
    claim(
        "C4",
        "MNIST",
        "unit: norm as well",
        "does not speak",
        remarks="gap -0.1, p 0.6; 3 above 0",
    ),
    claim("C5", "digits", "norm minus confidence", "none", primary=False, p_holm=0.2),
]


def place(dataset, label, within, *, own=False, n=41, note="", behind=np.nan):
    """A row of the leaderboard, every interval 0.1 to each side."""
    numbers = {"within": within, "raw": within + 0.1, "kendall": np.nan, "behind": behind}
    numbers |= {"information": abs(within), "sign_error": 0.5 if own else np.nan}
    return {
        "dataset": dataset,
        "measure": label.replace(" ", "_"),
        "label": label,
        "sees": "test inputs" if own else "training set",
        "own": own,
        "n": n,
        "left_out": "3 of 44 survey networks: 3 not fitted",
        **numbers,
        **{f"{name}_low": value - 0.1 for name, value in numbers.items()},
        **{f"{name}_high": value + 0.1 for name, value in numbers.items()},
        "kendall_pairs": 1234 if dataset == "digits" else 0,
        "kendall_axes": "learning_rate, gain" if dataset == "digits" else "",
        "information_given": "learning_rate, gain" if own else "nothing",
        "information_sign": 1 if within > 0 else -1,
        "sign_error_environment": "gain 1 and 4" if own else "",
        "sign_error_mean": 0.25,
        "sign_error_coin": 0.71,
        "sign_error_coin_low": 0.58,
        "sign_error_environments": 8,
        "sign_error_pairs": 120,
        "note": note,
    }


BOARD = [
    place("digits", "Jacobian norm", 0.62, own=True),
    place("digits", "path norm", -0.25, behind=0.87),
    place("MNIST", "sharpness <magnitude>", np.nan, n=3, note="3 of at least 20"),
]
CONFIG = "study: demo\ndatasets:\n  digits: {train_size: 500}  # <b>\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study's folder, and the arguments of its report."""
    root = tmp_path_factory.mktemp("results") / "demo"
    surveys = {}
    for seed, name in enumerate(("digits", "MNIST")):
        surveys[name] = root / "survey" / f"{name}.zarr"
        stores.write(
            synthetic.survey(seed=seed, networks=44, samples=40, pairs=3),
            surveys[name],
            "survey",
            attributes=stores.provenance(
                device=f"cpu of {name}", config={"study": "demo", "axes": list(range(40))}
            ),
        )
    figures = {}
    ids = stores.read(surveys["digits"], "survey")["network"].to_numpy()[:2].tolist()

    def paint(layout):
        figure = Figure(figsize=(3, 2))
        panel = figure.subplots()
        drawn = [(identity,) for identity in ids]
        return Painted(
            figure, [Marks(panel, "a <panel>", "digits", drawn, np.r_[0.1, 0.5], np.r_[0.2, 0.7])]
        )

    for name in ("sensitivity", "factors"):
        figures[name] = root / "figures" / name
        numbers = pd.DataFrame({"dataset": ["digits"]})
        caption = Caption(f"The {name} & more", "Marks < networks. So.", "n = 41.", "It rises.")
        save(Drawn(paint, numbers, caption), figures[name])
    pd.DataFrame(CLAIMS, columns=list(COLUMNS)).to_csv(root / "claims.csv", index=False)
    pd.DataFrame(BOARD, columns=list(BOARD_COLUMNS)).to_csv(root / "leaderboard.csv", index=False)
    benchmark(root / "timings" / "train" / "digits-1.tsv", 30, 29, 300)
    benchmark(root / "timings" / "train" / "digits-2.tsv", 31.5, 30.5, 410.4)
    benchmark(root / "timings" / "claims.tsv", 2, 1.5, "-")
    return {
        "study": "demo",
        "alpha": 0.05,
        "config_text": CONFIG,
        "claims": root / "claims.csv",
        "leaderboard": root / "leaderboard.csv",
        "figures": figures,
        "surveys": surveys,
        "timings": [root / "timings"],
        "expected": {"train": 80.0},
        "output": root / "report.html",
    }


def benchmark(path, seconds, cpu, memory):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
        f"{seconds}\t0:00:30\t{memory}\t-\t-\t-\t0.0\t0.1\t98\t{cpu}\n"
    )


@pytest.fixture(scope="module")
def page(study):
    build(**study)
    return Page(study["output"].read_text(encoding="utf-8"))


def test_the_page_stands_alone(study, page):
    text = study["output"].read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "{{" not in text
    assert "{%" not in text
    assert "@import" not in text
    assert "url(" not in text
    # the script asks for nothing
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon", text)
    for source in page.sources:
        assert source["srcset"].startswith("data:image/svg+xml;base64,")
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        elif not address.startswith("data:image/svg+xml;base64,"):
            # relative, and there
            assert not re.match(r"[a-z]+:|/", address), address
            assert (study["output"].parent / address).exists(), address
    assert len(set(page.ids)) == len(page.ids)


def test_every_row_of_claims_has_its_verdict_in_words(page):
    for row in CLAIMS:
        (found,) = [
            text
            for text in page.rows
            if row["quantity"] in text and f" {row['dataset']} " in f" {text} "
        ]
        control = row["key"].endswith(".untrained")
        none = "control" if control else "comparison"
        assert (row["verdict"] if row["verdict"] != "none" else none) in found
        assert "41" in found
        assert "17 architectures" in found
        assert row["left_out"] in found
        if np.isnan(row["estimate"]):
            assert "–" in found
        else:
            assert effect_text(row["estimate"], row["low"], row["high"]) in found
            assert p_text(row["p_holm"] if row["primary"] else row["p"]) in found
            assert f"{100 * row['level']:.0f}% interval" in found
        assert ("primary, Holm" if row["primary"] else "secondary") in found
    # what decides how a row is to be read stands outside the fold as well
    text = page.text
    assert text.count("gap -0.1, p 0.6") == 2
    assert text.count("5 of at least 20") == 2


def test_every_row_of_claims_has_its_key_as_its_id(page):
    ids = [f"{row['dataset']}-{row['key']}" for row in CLAIMS]
    assert [name for name in page.ids if name in ids] == ids


def test_primary_rows_stand_out(study):
    text = study["output"].read_text(encoding="utf-8")
    assert "<strong>training loss</strong>" in text
    assert "<strong>norm minus confidence</strong>" not in text


def test_intervals_of_the_leaderboard_are_said_at_the_level_of_the_analysis(study, page, tmp_path):
    assert "95% intervals from a bootstrap" in page.text
    build(**study | {"alpha": 0.001, "output": tmp_path / "report.html"})
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "99.9% intervals from a bootstrap" in text


def test_claims_are_explained_and_counted_at_a_glance(page):
    (first,) = [k for k, row in enumerate(page.rows) if row.split()[:2] == ["Claim", "digits"]]
    glance = page.rows[first + 1 : first + 5]
    # of primary rows alone
    assert [row.split()[0] for row in glance[:3]] == ["C0", "C2", "C4"]
    words = glance[0].split()
    assert " ".join(words[-7:]) == "1 supported 1 too imprecise 1 contradicted"
    assert "1 not supported" in glance[1]
    assert "1 does not speak" in glance[2]
    assert "1 too few networks" in glance[2]
    assert "larger ones generalize better" in page.text
    assert "Verdicts of the primary rows: 1 supported, 1 contradicted, 1 not supported" in (
        page.text
    )


def test_what_nobody_asked_for_is_told_apart_from_too_few_networks(study, tmp_path):
    # random labels alone; ellipses of no network
    pairs = {"labels": 40, "unit": 4}
    survey = synthetic.survey(networks=60, samples=40, transition_points=20, pairs=pairs)
    survey["in_ellipses"] = np.False_ & survey["in_ellipses"]
    store, claims = tmp_path / "digits.zarr", tmp_path / "claims.csv"
    stores.write(survey, store, "survey")
    write_claims({"digits": store}, claims, Settings(bootstrap=200, halvings=20))
    written = claims.read_bytes()
    output = tmp_path / "report.html"
    build(
        **study | {"claims": claims, "figures": {}, "surveys": {"digits": store}, "output": output}
    )
    page = Page(output.read_text(encoding="utf-8"))
    assert claims.read_bytes() == written
    table = pd.read_csv(claims)
    few = table[table["verdict"] == "too few networks"]
    absent = few[few["left_out"].str.startswith("0 of 0 ")]
    named = absent.loc[absent["primary"], "key"].tolist()
    asked = {"C1.order.different", "C1.order.one", "C1.transitions"}
    assert {*named} == asked | {"C3.batch", "C4.augmentation", "C6.noise"}
    # pairs that are asked for, and too few
    assert "C4.unit" in {*few["key"]} - {*absent["key"]}
    text = " ".join(page.text.split())
    assert f" of {table['primary'].sum() - len(named)} primary rows are supported" in text
    assert f". Not in this study: {', '.join(named)}." in text
    assert "; too few networks: C4.unit" in text
    assert "1 too few networks; 6 not in this study." in text
    rows = [" ".join(row.split()) for row in page.rows]
    (glance,) = [row for row in rows if row.startswith("C1 ")]
    assert glance.endswith("3 not in this study")
    for _, row in few.iterrows():
        word = "not in this study" if row["key"] in {*absent["key"]} else "too few networks"
        assert any(text.startswith(f"{word} digits {row['quantity']}") for text in rows), row["key"]


def test_every_data_set_is_told_in_a_line(study, page, tmp_path):
    # surveys of earlier versions hold neither size nor number of classes
    expected = "500 training images and 40 test images."
    assert [text for text in page.facts if text.startswith("Data set")] == [
        f"Data set digits {expected}",
        f"Data set MNIST {expected}",
    ]
    surveys = {"all": {"samples": 40, "transition_points": 40}}
    surveys["some"] = {"samples": 1_200, "others": 800, "transition_points": 60, "ragged": True}
    stored = {name: tmp_path / f"{name}.zarr" for name in surveys}
    for name, asked in surveys.items():
        stores.write(
            synthetic.survey(networks=12, pairs=0, **asked),
            stored[name],
            "survey",
            attributes=stores.provenance(image_shape=(3, 32, 16), classes=100),
        )
    output = tmp_path / "report.html"
    build(**study | {"figures": {}, "surveys": stored, "output": output})
    told = Page(output.read_text(encoding="utf-8")).facts
    size = "of 3 × 32 × 16 (channels × height × width), 100 classes"
    assert told[0] == f"Data set all 500 training images and 40 test images {size}."
    points = stores.read(stored["some"], "survey")["transitions_points"].to_numpy()
    points = points[points >= 0]
    assert told[1] == (
        f"Data set some 500 training images and 2,000 test images {size}; Jacobian norms at 1,200 "
        f"of the test images; transitions at {points.min()} to {points.max()} of the test images."
    )


def test_figures_are_embedded_whole_with_captions(study, page):
    assert len(page.images) == len(page.sources) == 2
    shown = zip(page.images, page.sources, study["figures"].items(), strict=True)
    for image, source, (name, stem) in shown:
        for address, suffix in ((image["src"], ".svg"), (source["srcset"], ".column.svg")):
            svg = base64.b64decode(address.removeprefix("data:image/svg+xml;base64,"))
            assert svg == stem.with_suffix(suffix).read_bytes()
        assert (image["width"], image["height"]) == ("216", "144")
        assert image["alt"] == f"The {name} & more. It rises."
        assert f"The {name} & more. Marks < networks. So." in page.text
        assert "n = 41." in page.text
        for suffix in (".pdf", ".column.pdf", ".svg", ".csv"):
            assert f"figures/{name}{suffix}" in page.addresses


def test_the_script_knows_every_network_and_where_its_marks_stand(study):
    text = study["output"].read_text(encoding="utf-8")
    block = re.search(r'<script type="application/json" id="explorer">(.*?)</script>', text)[1]
    assert "<" not in block
    found = json.loads(block)
    surveys = {name: stores.read(path, "survey") for name, path in study["surveys"].items()}
    assert len(found["networks"]) == sum(survey.sizes["network"] for survey in surveys.values())
    gap = found["columns"].index("generalization gap")
    unit = found["columns"].index("unit")
    for name, identity, *rest in found["networks"]:
        of_network = surveys[name].sel(network=identity)
        values = [name, identity, *rest]
        assert values[unit] == of_network["unit"].item()
        expected = of_network["gap"].item()
        assert values[gap] == (None if np.isnan(expected) else pytest.approx(expected, rel=1e-3))
        assert len(values) == len(found["columns"])
    digits = surveys["digits"]["network"].to_numpy()
    (panel,) = found["figures"]["factors"]["panels"]
    assert panel["label"] == "a <panel>"
    ids = [[found["networks"][place][1] for place in mark] for mark in panel["networks"]]
    assert ids == [[digits[0]], [digits[1]]]


def test_all_tables_and_figures_are_in_one_file_that_is_the_same_again(study, tmp_path):
    root = study["output"].parent
    bundles = []
    for name in ("one", "two"):
        output = root / f"{name}.html"
        bundle = tmp_path / f"{name}.zip"
        build(**study | {"output": output, "flat": root / "networks.csv", "bundle": bundle})
        bundles.append(bundle)
        output.unlink()
    assert bundles[0].read_bytes() == bundles[1].read_bytes()
    with zipfile.ZipFile(bundles[0]) as bundle:
        assert bundle.testzip() is None
        names = set(bundle.namelist())
        for name in names:
            assert bundle.read(name) == (root / name).read_bytes()
    assert names == {
        *(f"figures/{name}{suffix}" for name in study["figures"] for suffix in FIGURE_SUFFIXES),
        *("claims.csv", "leaderboard.csv", "networks.csv", "networks.columns.csv"),
    }


def test_time_machine_code_and_citation_are_told(page):
    assert "of jobs; the cost model expected 80 s of jobs." in page.text
    assert "networks measured on cpu of digits" in page.text
    assert "arXiv 1802.08760. CITATION.cff" in page.text


def test_time_at_work_counts_jobs_side_by_side_once_and_no_pauses(tmp_path):
    for name, seconds, end in (("a", 10, 100), ("b", 8, 101), ("c", 5, 500)):
        path = tmp_path / "train" / f"{name}.tsv"
        benchmark(path, seconds, 1, 1)
        os.utime(path, (end, end))
    # 90 to 101, and 495 to 500
    assert seconds_at_work(read_jobs([tmp_path])) == pytest.approx(16)
    assert seconds_at_work(read_jobs([tmp_path / "none"])) == 0


def test_the_leaderboard_stands_in_its_order(study, page):
    rows = [" ".join(row.split()) for row in page.rows]
    (first,) = [k for k, row in enumerate(rows) if row.startswith("Jacobian norm")]
    assert rows[first].endswith(
        "test inputs 0.62 [0.52, 0.72] 0.72 [0.62, 0.82] – "
        "0.62 [0.52, 0.72] rising with the gap, given learning rate, gain "
        "0.50 [0.40, 0.60] gain 1 and 4; mean of 8 0.25; a coin 0.71, 5% below 0.58 – 41"
    )
    assert rows[first + 1].startswith("path norm training set")
    assert rows[first + 1].endswith(
        "−0.25 [−0.35, −0.15] −0.15 [−0.25, −0.05] – "
        "0.25 [0.15, 0.35] falling with the gap, given nothing – 0.87 [0.77, 0.97] 41"
    )
    text = study["output"].read_text(encoding="utf-8")
    assert "<strong>Jacobian norm</strong>" in text
    assert "<strong>path norm</strong>" not in text
    (few,) = [row for row in rows if row.startswith("sharpness <magnitude>")]
    assert few.endswith("3 of at least 20 training set – – – – – – 3")
    assert "digits: 41 fitted networks (left out: 3 of 44 survey networks" in page.text
    assert "1,234 pairs; hyper-parameters: learning rate, gain." in page.text
    assert "No hyper-parameter has enough pairs" in page.text
    assert "leaderboard.csv" in page.addresses


def test_networks_are_counted_by_status(study, page):
    for name, path in study["surveys"].items():
        dataset = stores.read(path, "survey")
        status = dataset["status"].to_numpy()
        members = {
            "all networks": np.ones(len(status), bool),
            "survey": dataset["in_survey"].to_numpy(),
            "pairs: unit": dataset["side_unit"].to_numpy() != "",
        }
        for group, member in members.items():
            counts = [sum(status[member] == s) for s in ("fitted", "not fitted", "diverged")]
            expected = " ".join(map(str, [name, group, *counts, member.sum()]))
            assert expected in [" ".join(row.split()) for row in page.rows]


def test_configuration_provenance_and_timings_are_there(page):
    assert CONFIG in page.text
    rows = [" ".join(row.split()) for row in page.rows]
    assert "device cpu of digits cpu of MNIST" in rows
    assert any(row.startswith("numpy 2") for row in rows)
    assert any(row.startswith("config show") for row in rows)
    assert "train 2 62 s 80 s 60 s 410 MiB" in rows
    assert "claims 1 2.0 s – 1.5 s –" in rows
    assert "all 3 64 s 80 s 61 s 410 MiB" in rows


def test_a_study_without_timings_figures_and_claims_has_a_report(study, tmp_path):
    claims, board = tmp_path / "claims.csv", tmp_path / "leaderboard.csv"
    pd.DataFrame(columns=list(COLUMNS)).to_csv(claims, index=False)
    pd.DataFrame(columns=list(BOARD_COLUMNS)).to_csv(board, index=False)
    output = tmp_path / "report.html"
    without = {
        "claims": claims,
        "leaderboard": board,
        "figures": {},
        "timings": [tmp_path / "none"],
    }
    build(**study | without | {"output": output})
    page = Page(output.read_text(encoding="utf-8"))
    assert "No timings were recorded." in page.text
    assert "The study has no figures." in page.text
    assert "The study has no row of claims." in page.text
    assert "The study has no leaderboard." in page.text
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["claims.csv", "leaderboard.csv", "report.html"]


def test_a_table_of_claims_without_its_columns_is_refused(study, tmp_path):
    claims = tmp_path / "claims.csv"
    pd.DataFrame(CLAIMS).drop(columns=["p_holm", "remarks"]).to_csv(claims, index=False)
    with pytest.raises(ValueError, match="missing: p_holm, remarks; run the analysis again"):
        build(**study | {"claims": claims})


def test_a_leaderboard_without_its_columns_is_refused(study, tmp_path):
    board = tmp_path / "leaderboard.csv"
    pd.DataFrame(BOARD).drop(columns=["within_low"]).to_csv(board, index=False)
    with pytest.raises(ValueError, match="missing: within_low; run the analysis again"):
        build(**study | {"leaderboard": board})


def test_timings_of_several_runs_add_up_and_odd_files_are_passed_over(tmp_path, caplog):
    benchmark(tmp_path / "jacobian" / "a.tsv", 1, 2, 10)
    path = tmp_path / "jacobian" / "a.tsv"
    header, row = path.read_text().splitlines()
    path.write_text("\n".join([header, row, row.replace("10", "12")]))
    (tmp_path / "jacobian" / "empty.tsv").write_text("")
    (tmp_path / "zeta" / "deep").mkdir(parents=True)
    (tmp_path / "zeta" / "deep" / "b.tsv").write_text("s\tcpu_time\nNA\t-\n")
    benchmark(tmp_path / "train" / "c.tsv", 5, 4, 1)
    found = read_timings([tmp_path])
    assert found["stage"].tolist() == ["train", "jacobian", "zeta"]
    assert found["jobs"].tolist() == [1, 1, 1]
    assert found["wall_s"].tolist() == [5, 2, 0]
    assert found["cpu_s"].tolist()[:2] == [4, 4]
    assert np.isnan(found["cpu_s"][2])
    assert found["peak_mib"].tolist()[:2] == [1, 12]
    assert "empty.tsv holds no table" in caplog.text
    assert read_timings([Path(tmp_path / "nowhere")]).empty


@pytest.mark.parametrize(
    ("p", "text"), [(np.nan, "–"), (3e-5, "< 0.0001"), (0.0321, "0.032"), (1.0, "1")]
)
def test_p_values_are_readable(p, text):
    assert p_text(p) == text
