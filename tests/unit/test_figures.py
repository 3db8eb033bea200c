import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import synthetic
from sensigap import survey as stores
from sensigap.analysis.claims import write_claims
from sensigap.analysis.leaderboard import write_leaderboard
from sensigap.analysis.verdicts import Settings
from sensigap.figure_names import FIGURE_SUFFIXES, Caption
from sensigap.figures import FIGURES, Sources, draw, drawn, files, save
from sensigap.figures.axes import crowded, gap_axis
from sensigap.figures.captions import counts_sentence
from sensigap.figures.style import log_ticks

SOURCE = Path(__file__).parents[2] / "src"
SETTINGS = Settings(point_networks=8, bootstrap=200)


def sources(surveys, settings=SETTINGS):
    """The survey stores of a study, beside which its leaderboard lies."""
    board = next(iter(surveys.values())).parent / "leaderboard.csv"
    if not board.exists():
        write_leaderboard(surveys, board, settings)
    claims = board.with_name("claims.csv")
    if not claims.exists():
        write_claims(surveys, claims, settings)
    return Sources(surveys, board, claims, settings)


def nothing_fitted(dataset):
    """The same networks, none of which fits, so that nothing is measured."""
    dataset = dataset.copy(deep=True)
    dataset["status"][:] = "not fitted"
    for name, variable in stores.SCHEMAS["survey"].variables.items():
        of_fitted = name in (
            "sensitivity",
            "train_sensitivity",
            "mean_transitions",
            *stores.SCHEMAS["complexity"].variables,
        )
        if "sample" in variable.dims or of_fitted:
            dataset[name][:] = np.nan if dataset[name].dtype.kind == "f" else -1
    return dataset


def write(folder, surveys, *, groups=True):
    paths = {}
    for name, dataset in surveys.items():
        extra = {}
        if groups:
            extra = {"ellipses": synthetic.ellipses(dataset), "slices": synthetic.slices(dataset)}
        paths[name] = folder / f"{name}.zarr"
        stores.write(dataset, paths[name], "survey", groups=extra)
    return paths


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Kind of study -> survey stores."""
    small = {"networks": 40, "samples": 60, "transition_points": 20, "pairs": 6}
    several = {
        name: synthetic.survey(seed=seed, **small)
        for seed, name in enumerate(("MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"))
    }
    folder = tmp_path_factory.mktemp
    one = synthetic.survey(**small)
    alone = one.isel(network=np.flatnonzero(one["in_survey"].to_numpy()))
    single = one.isel(network=np.flatnonzero(one["in_slices"].to_numpy()))
    single = single.assign_coords(in_ellipses=("network", [True]))
    return {
        "normal": write(folder("normal"), {"digits": one}),
        "several": write(folder("several"), several),
        "nothing fitted": write(folder("nothing"), {"digits": nothing_fitted(one)}, groups=False),
        "one of two fitted": write(
            folder("half"), {"MNIST": nothing_fitted(one), "digits": one}, groups=False
        ),
        "no networks": write(
            folder("none"), {"digits": one.isel(network=slice(0, 0))}, groups=False
        ),
        "one network": write(folder("single"), {"digits": single}),
        "no pairs": write(folder("survey"), {"digits": alone}),
    }


def test_every_name_has_a_figure():
    assert list(files._FIGURES) == list(FIGURES)


def test_names_are_known_without_matplotlib_and_torch():
    code = (
        "import sys; from sensigap.figure_names import FIGURES; assert FIGURES; "
        "assert not {'matplotlib', 'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(SOURCE)})


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_written_whole_and_again_with_the_same_bytes(name, studies, tmp_path):
    before = dict(matplotlib.rcParams)
    made_of = sources(studies["normal"])
    written = draw(name, made_of, tmp_path / "figures" / name)
    assert dict(matplotlib.rcParams) == before
    assert [path.name for path in written] == [name + suffix for suffix in FIGURE_SUFFIXES]
    # nothing else lies there: no temporary file stays behind
    assert set((tmp_path / "figures").iterdir()) == set(written)
    of = dict(zip(FIGURE_SUFFIXES, written, strict=True))
    for suffix in (".pdf", ".column.pdf"):
        assert of[suffix].read_bytes().startswith(b"%PDF-")
        assert b"CreationDate" not in of[suffix].read_bytes()
    assert of[".png"].read_bytes().startswith(b"\x89PNG")
    again = drawn(name, made_of)
    said = Caption.read(of[".txt"].read_text(encoding="utf-8"))
    assert said == again.caption
    assert said.title == FIGURES[name]
    # what is said of every figure is two sentences long
    assert len(re.findall(r"[.?!](?: |$)", said.text)) == 2
    assert re.search(r"\d", said.finding)
    ids = dict.fromkeys([column for column in again.numbers if column.endswith("network")], str)
    read = pd.read_csv(of[".csv"], dtype=ids)
    pd.testing.assert_frame_equal(read, again.numbers, check_dtype=False, rtol=1e-8)
    for one, other in zip(written, save(again, tmp_path / "again"), strict=True):
        assert one.read_bytes() == other.read_bytes(), one.suffix


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    ("study", "empty"),
    [
        ("several", ()),
        ("nothing fitted", FIGURES),
        ("no networks", FIGURES),
        ("one of two fitted", ("ellipses", "slices")),
        ("one network", ("effects", "factors", "leaderboard")),
        ("no pairs", ("factors",)),
    ],
)
def test_every_kind_of_study_has_every_figure(name, study, empty, studies):
    made = drawn(name, sources(studies[study]))
    made.figure.draw_without_rendering()
    assert made.numbers.empty == (name in empty)
    assert "dataset" in made.numbers
    if name != "factors":
        assert all(f"{dataset}: n = " in str(made.caption) for dataset in studies[study])
    if made.numbers.empty:
        (axes,) = made.figure.axes
        assert axes.texts[0].get_text().endswith(".")


@pytest.mark.parametrize("name", FIGURES)
def test_drawings_of_lines_follow_the_page_and_are_as_wide_as_they_should(name, studies, tmp_path):
    stem = tmp_path / name
    draw(name, sources(studies["several"]), stem)
    for suffix, inches in ((".svg", 7.2), (".column.svg", 3.4)):
        text = stem.with_name(name + suffix).read_text(encoding="utf-8")
        width = float(re.search(r'viewBox="0 0 ([\d.]+) ', text)[1])
        # fewer than four factors are narrower
        assert width <= 72 * inches + 0.01
        assert width == pytest.approx(72 * inches) or name == "factors"
        assert "@media (prefers-color-scheme: dark)" in text
        # letters stay letters, and no neutral colour is fixed
        assert "<text" in text
        body = text[text.index("</style>") :]
        assert not re.search(r"(?:fill|stroke): ?#(?:000000|ffffff)\b", body, re.IGNORECASE)
        assert set(re.findall(r"var\(--(\w+)\)", body)) <= set(re.findall(r"--(\w+):", text))


@pytest.mark.parametrize("name", ["sensitivity", "parameters", "factors"])
def test_marks_stand_in_their_panel_and_name_networks_of_their_data_set(name, studies, tmp_path):
    draw(name, sources(studies["several"]), tmp_path / name)
    found = json.loads((tmp_path / f"{name}.marks.json").read_text())
    assert list(found["places"]) == ["page", "column"]
    ids = {
        dataset: set(stores.read(path, "survey")["network"].to_numpy().tolist())
        for dataset, path in studies["several"].items()
    }
    assert {panel["dataset"] for panel in found["panels"]} == set(ids)
    for places in found["places"].values():
        for panel, place in zip(found["panels"], places, strict=True):
            left, top, right, bottom = place["box"]
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
            assert len(place["x"]) == len(place["y"]) == len(panel["networks"]) > 0
            assert min(place["x"]) >= left - 1e-4
            assert max(place["x"]) <= right + 1e-4
            assert min(place["y"]) >= top - 1e-4
            assert max(place["y"]) <= bottom + 1e-4
            named = {identity for mark in panel["networks"] for identity in mark}
            assert named <= ids[panel["dataset"]]
            assert {len(mark) for mark in panel["networks"]} == {2 if name == "factors" else 1}


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5] * 4, False),
        ([0.01] * 14 + [0.3, 0.4, 0.5], True),
        # too many at or below 0, or too few at all
        ([0.0] * 14 + [0.3, 0.4, 0.5], False),
        ([0.01] * 6 + [0.5], False),
        ([0.2] * 20, False),
    ],
)
def test_gaps_that_lie_close_together_are_drawn_on_a_logarithmic_axis(gaps, expected):
    values = pd.Series(gaps)
    assert crowded(values) == expected
    panel = Figure().subplots()
    moved = gap_axis(panel, values)
    assert (panel.get_yscale() == "log") == expected
    assert (moved > 0).all() or not expected


def test_a_caption_that_is_none_is_refused():
    with pytest.raises(ValueError, match="three paragraphs, found 1: draw the figure again"):
        Caption.read("A title. Some text")


def test_an_unknown_figure_is_named(studies, tmp_path):
    with pytest.raises(ValueError, match="no figure 'parametres'; expected one of sensitivity"):
        drawn("parametres", sources(studies["normal"]))


def test_a_missing_survey_is_named(tmp_path):
    missing = Sources(
        {"digits": tmp_path / "nowhere.zarr"},
        tmp_path / "board.csv",
        tmp_path / "claims.csv",
        SETTINGS,
    )
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zarr: no consolidated Zarr store"):
        drawn("parameters", missing)


def test_the_leaderboard_is_drawn_as_its_table_says(studies, tmp_path):
    made_of = sources(studies["several"])
    board = pd.read_csv(made_of.leaderboard)
    board["within"] -= 0.125
    board.to_csv(tmp_path / "board.csv", index=False)
    numbers = drawn(
        "leaderboard", Sources(made_of.surveys, tmp_path / "board.csv", made_of.claims, SETTINGS)
    ).numbers
    found = numbers.set_index(["dataset", "measure"])
    for _, row in board.dropna(subset=["within"]).iterrows():
        assert found.loc[(row["dataset"], row["measure"]), "within"] == row["within"]
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        drawn(
            "leaderboard", Sources(made_of.surveys, tmp_path / "none.csv", made_of.claims, SETTINGS)
        )


def test_intervals_are_at_the_level_of_the_settings(studies):
    usual = sources(studies["normal"])
    wide = Settings(point_networks=8, bootstrap=200, alpha=0.005)
    for name in ("points", "ellipses", "leaderboard"):
        narrow, broad = (
            drawn(name, Sources(usual.surveys, usual.leaderboard, usual.claims, settings))
            for settings in (SETTINGS, wide)
        )
        assert "95%" in str(narrow.caption)
        assert "99.5%" in str(broad.caption)
        assert "95%" not in str(broad.caption)
        if name == "leaderboard":
            continue
        lengths = []
        for made in (narrow, broad):
            numbers = made.numbers
            if name == "points":
                numbers = numbers[numbers["panel"] == "misclassification"]
            lengths.append((numbers["high"] - numbers["low"]).sum())
        assert lengths[1] > 1.2 * lengths[0]


def test_counts_are_said_part_by_part():
    from sensigap.analysis.survey_table import LeftOut

    two = LeftOut(1242, "survey networks")
    two.add("not fitted", 2)
    two.add("diverged", 0)
    said = counts_sentence("network", {"MNIST": (1240, two), "digits": (1, LeftOut(1))})
    assert said == (
        "MNIST: n = 1,240 networks (left out: 2 of 1242 survey networks: 2 not fitted). "
        "digits: n = 1 network (left out: none)."
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.04, 12, ["0.1", "1", "10"]),
        (9, 41, ["10", "20", "30"]),
        (
            4e4,
            2.5e5,
            [r"$5{\times}10^{4}$", r"$7{\times}10^{4}$", "$10^{5}$", r"$2{\times}10^{5}$"],
        ),
        (12, 14.5, ["12", "13", "14"]),
        (1e-9, 5, ["$10^{-9}$", "$10^{-6}$", "$10^{-3}$", "$10^{0}$"]),
    ],
)
def test_ticks_of_wide_and_narrow_logarithmic_axes(low, high, expected):
    ticks, labels = log_ticks(low, high)
    assert labels == expected
    assert all(low <= tick <= high for tick in ticks)


def test_figures_are_drawn_whatever_backend_is_named():
    """A Jupyter kernel names its own for the processes that it starts."""
    told = subprocess.run(
        [sys.executable, "-c", "import sensigap.figures"],
        env=os.environ
        | {"MPLBACKEND": "module://no_such_module.backend_inline", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
