"""The report as people see it: in Chromium, wide and narrow, light and dark, small and large."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import synthetic
from sensigap import survey as stores
from sensigap.analysis.claims import write_claims
from sensigap.analysis.leaderboard import write_leaderboard
from sensigap.analysis.survey_table import networks_table
from sensigap.analysis.verdicts import Settings
from sensigap.figures import FIGURES, Sources, draw, factors, parameters, save, sensitivity
from sensigap.report import build

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra 'browser')")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="needs Chromium (Debian and Ubuntu: the package chromium)"
)
SETTINGS = Settings(point_networks=8, bootstrap=200, halvings=50, crossfit_splits=2)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The report of a study of two data sets, with all figures; and its surveys."""
    folder = tmp_path_factory.mktemp("small") / "demo"
    surveys = {}
    for seed, name in enumerate(("digits", "MNIST")):
        surveys[name] = synthetic.survey(
            seed=seed, networks=70, samples=80, transition_points=20, pairs={"labels": 8, "unit": 8}
        )
    stored = {name: folder / "survey" / f"{name}.zarr" for name in surveys}
    for name, survey in surveys.items():
        groups = {"ellipses": synthetic.ellipses(survey), "slices": synthetic.slices(survey)}
        stores.write(survey, stored[name], "survey", groups=groups)
    return folder, surveys, report(folder, stored)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The report of 10,000 networks, with the figures that show each of them."""
    folder = tmp_path_factory.mktemp("large") / "large"
    survey = synthetic.survey(
        networks=9_000, samples=12, transition_points=4, pairs={"labels": 250, "unit": 250}
    )
    stored = {"digits": folder / "survey" / "digits.zarr"}
    stores.write(survey, stored["digits"], "survey")
    drawn = {"sensitivity": sensitivity, "parameters": parameters, "factors": factors}
    for name, module in drawn.items():
        save(module.figure({"digits": survey}), folder / "figures" / name)
    few = survey.isel(network=slice(0, 300))
    tables = {"digits": folder / "few.zarr"}
    stores.write(few, tables["digits"], "survey")
    return folder, {"digits": survey}, report(folder, stored, tables, drawn)


def report(folder, stored, of_tables=None, figures=None):
    of_tables = of_tables or stored
    claims, board = folder / "claims.csv", folder / "leaderboard.csv"
    write_claims(of_tables, claims, SETTINGS)
    write_leaderboard(of_tables, board, SETTINGS)
    if figures is None:
        figures = FIGURES
        sources = Sources(stored, board, claims, SETTINGS)
        for name in figures:
            draw(name, sources, folder / "figures" / name)
    output = folder / "report.html"
    build(
        study="demo",
        alpha=0.05,
        config_text="study: demo\n",
        claims=claims,
        leaderboard=board,
        figures={name: folder / "figures" / name for name in figures},
        surveys=stored,
        timings=[],
        output=output,
        flat=folder / "networks.csv",
        bundle=folder / "all.zip",
    )
    return output


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser):
    """Opens a page; whatever it complains of or asks for fails the test."""
    contexts, faults = [], []

    def open_page(path, viewport=WIDE, scheme="light", **options):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda asked: faults.append(asked.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    addresses = [f for f in faults if not f.startswith(("data:image/", "file:")) or "?" in f]
    for context in contexts:
        context.close()
    assert not addresses
    assert {f for f in faults if f.startswith("file:")} <= {
        f for f in faults if f.endswith("/report.html")
    }


@pytest.fixture(params=["small", "large"])
def study(request):
    return request.getfixturevalue(request.param)


def marks(folder, figure, layout):
    found = json.loads((folder / "figures" / f"{figure}.marks.json").read_text())
    return list(zip(found["panels"], found["places"][layout], strict=True))


@pytest.mark.parametrize(("viewport", "layout"), [(WIDE, "page"), (NARROW, "column")])
@pytest.mark.parametrize("figure", ["sensitivity", "parameters", "factors"])
def test_a_mark_tells_its_network(study, figure, viewport, layout, opened):
    folder, surveys, path = study
    page = opened(path, viewport)
    plot = page.locator(f"#figure-{figure} .plot")
    tables = {name: networks_table(survey) for name, survey in surveys.items()}
    for panel, place in marks(folder, figure, layout)[:3]:
        # the marks farthest from all others, so that none other is nearer
        points = np.column_stack([place["x"], place["y"]])
        some = points[: min(len(points), 400)]
        gaps = np.linalg.norm(some[:, None] - points[None], axis=2)
        gaps[np.arange(len(some)), np.arange(len(some))] = np.inf
        for mark in np.argsort(-gaps.min(1))[:2]:
            plot.scroll_into_view_if_needed()
            box = plot.bounding_box()
            at = points[mark] * [box["width"], box["height"]] + [box["x"], box["y"]]
            page.mouse.move(*at)
            if not 0 <= at[1] < viewport["height"]:
                page.mouse.wheel(0, at[1] - viewport["height"] / 2)
                page.wait_for_timeout(100)
                box = plot.bounding_box()
                at = points[mark] * [box["width"], box["height"]] + [box["x"], box["y"]]
                page.mouse.move(*at)
            tip = plot.locator(".tip")
            assert tip.is_visible()
            told = tip.inner_text()
            for identity in panel["networks"][mark]:
                assert identity in told
                gap = tables[panel["dataset"]].loc[identity, "gap"]
                assert f"{float(f'{gap:.4g}'):g}".replace("-", "−") in told
            # all of it is within the page
            inside = tip.bounding_box()
            assert inside["x"] >= 0
            assert inside["x"] + inside["width"] <= viewport["width"]


def test_a_click_keeps_what_is_told_and_escape_hides_it(small, opened):
    folder, _, path = small
    page = opened(path)
    plot = page.locator("#figure-sensitivity .plot")
    place = marks(folder, "sensitivity", "page")[0][1]
    box = plot.bounding_box()
    page.mouse.click(
        box["x"] + place["x"][3] * box["width"], box["y"] + place["y"][3] * box["height"]
    )
    page.mouse.move(5, 5)
    assert plot.locator(".tip").is_visible()
    page.keyboard.press("Escape")
    assert not plot.locator(".tip").is_visible()


def test_marks_are_gone_through_by_keyboard(small, opened):
    folder, _, path = small
    page = opened(path)
    figure = page.locator("#figure-sensitivity")
    slider = figure.locator("input[type=range]")
    panel, place = marks(folder, "sensitivity", "page")[2]
    figure.locator("select").select_option(label=panel["label"])
    order = np.argsort(place["x"], kind="stable")
    slider.focus()
    for mark in order[:3]:
        (identity,) = panel["networks"][mark]
        assert identity in slider.get_attribute("aria-valuetext")
        assert identity in figure.locator(".tip").inner_text()
        page.keyboard.press("ArrowRight")


def test_the_answer_stands_on_the_first_screen(study, opened):
    page = opened(study[2])
    answer = page.locator("#answer p").first
    box = answer.bounding_box()
    assert "rank correlation" in answer.inner_text()
    assert box["y"] + 100 < WIDE["height"]
    picture = page.locator("#figure-sensitivity img").bounding_box()
    assert picture["y"] + 200 < WIDE["height"]


def test_tables_sort_by_every_column_and_back(small, opened):
    page = opened(small[2])
    table = page.locator("#leaderboard table.sortable").first
    headers = table.locator("thead th")
    for column in (0, 2, 3):
        button = headers.nth(column).locator("button")
        found = []
        for _ in range(2):
            button.click()
            found.append(
                [
                    (row.inner_text().split("\n")[0]).replace("−", "-")
                    for row in table.locator(f"tbody tr > :nth-child({column + 1})").all()
                ]
            )
        assert headers.nth(column).get_attribute("aria-sort") == "descending"
        if column:
            for texts, down in zip(found, (False, True), strict=True):
                numbers = [re.match(r"-?[\d.]+", text) for text in texts]
                values = [float(each[0]) for each in numbers if each]
                assert len(values) > 3
                assert values == sorted(values, reverse=down)
                # what has no number stands last
                assert not any(numbers[len(values) :])
        else:
            assert found[0] == sorted(found[0], key=str.casefold)


def test_rows_are_found_by_words_also_where_they_are_folded(small, opened):
    page = opened(small[2])
    section = page.locator("#verdicts")
    field = section.locator("input[type=search]")
    field.fill("transitions mnist")
    page.wait_for_timeout(300)
    rows = [row for row in section.locator("table.sortable tbody tr").all() if row.is_visible()]
    assert rows
    for row in rows:
        text = row.text_content().lower()
        assert "transitions" in text
        assert "mnist" in text
    assert f"{len(rows)} of " in section.locator("[role=status]").inner_text()
    field.fill("")
    page.wait_for_timeout(300)
    assert section.locator("table.sortable tbody tr[hidden]").count() == 0


def test_all_networks_are_searched_bounded_and_sorted(study, opened):
    _, surveys, path = study
    page = opened(path)
    place = page.locator("#all-networks")
    table = pd.concat(networks_table(survey) for survey in surveys.values())
    assert place.locator("tbody tr").count() == 50
    assert f"{len(table):,} of {len(table):,} networks" in place.inner_text()
    place.locator("input[type=search]").fill("relu6 status=fitted gap>0.25 seed=1")
    page.wait_for_timeout(400)
    wanted = table[
        (table["unit"] == "relu6")
        & (table["status"] == "fitted")
        & (table["gap"].map(lambda gap: float(f"{gap:.4g}")) > 0.25)
        & (table["seed"] == 1)
    ]
    assert 0 < len(wanted) < len(table)
    assert f"{len(wanted):,} of {len(table):,} networks" in place.inner_text()
    place.locator("thead th", has_text="mean Jacobian norm").locator("button").click()
    ids = place.locator("tbody th").all_inner_texts()
    expected = wanted.sort_values("sensitivity").index[: len(ids)]
    shown = wanted.loc[ids, "sensitivity"].to_numpy()
    np.testing.assert_allclose(shown, wanted.loc[expected, "sensitivity"], rtol=1e-3)
    if len(wanted) > 50:
        place.get_by_role("button", name="50 more").click()
        assert place.locator("tbody tr").count() == min(100, len(wanted))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_telephone(study, scheme, opened):
    page = opened(study[2], NARROW, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    beyond = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((element) => {
            if (element.closest(".scroll, pre, picture")) return false;
            if (!element.checkVisibility()) return false;
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.left < -1 || box.right > innerWidth + 1);
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert beyond == []
    for image in page.locator("figure img").all():
        shown = image.bounding_box()["width"]
        of_file = image.evaluate("element => element.naturalWidth")
        assert "svg" in image.evaluate("element => element.currentSrc.slice(0, 40)")
        # pixels a point: the smallest letters, of 7 points, are at least 9 pixels high
        assert 7 * shown / (of_file * 72 / 96) >= 9 or 7 * shown / of_file >= 9


@pytest.mark.parametrize("viewport", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_follow_the_colours_of_the_page(small, scheme, viewport, opened, tmp_path):
    from PIL import Image

    page = opened(small[2], viewport, scheme)
    for name in FIGURES:
        image = page.locator(f"#figure-{name} img")
        image.scroll_into_view_if_needed()
        image.screenshot(path=tmp_path / "shot.png")
        with Image.open(tmp_path / "shot.png") as shot:
            grey = np.asarray(shot.convert("L"), float)
        # paper at the rim, and letters and lines of the other kind within
        paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
        assert (paper < 60) == (scheme == "dark"), name
        assert np.ptp(grey) > 180, name


@pytest.mark.parametrize("viewport", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(small, scheme, viewport, opened):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(small[2], viewport, scheme)
    for fold in page.locator("details").all():
        fold.evaluate("element => { element.open = true; }")
    found = axe.Axe().run(page).response["violations"]
    serious = {
        rule["id"]: [node["html"][:120] for node in rule["nodes"][:3]]
        for rule in found
        if rule["impact"] in ("serious", "critical")
    }
    assert serious == {}


def test_all_of_it_can_be_read_without_script(small, opened):
    folder, _, path = small
    page = opened(path, java_script_enabled=False)
    assert page.locator("figure img").count() == len(FIGURES)
    assert page.locator("input, select, button").count() == 0
    claims = pd.read_csv(folder / "claims.csv")
    shown = page.locator("#verdicts table.sortable tbody tr").count()
    assert shown == len(claims) - claims["key"].str.endswith(".untrained").sum()
    assert "networks.csv" in page.locator("#networks").inner_text()


def test_sizes(small, large):
    assert small[2].stat().st_size < 5e6
    assert large[2].stat().st_size < 15e6
