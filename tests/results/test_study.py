"""Invariants of what a run wrote: pytest tests/results --results results/<study>."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import sensigap
from sensigap.analysis.verdicts import VERDICTS
from sensigap.config import load
from sensigap.declarations import PREDICTORS
from sensigap.design import design
from sensigap.factors import FACTORS
from sensigap.figure_names import FIGURE_SUFFIXES, FIGURES
from sensigap.measures import jacobian_norm
from sensigap.schema import SCHEMAS


@pytest.fixture(scope="session")
def surveys(results):
    # warnings are errors: the stores open without one
    found = {
        path.stem: xr.open_zarr(path).load() for path in sorted((results / "survey").glob("*.zarr"))
    }
    assert found, f"no survey under {results}"
    return found


@pytest.fixture(scope="session")
def study(surveys):
    whole = next(iter(surveys.values())).attrs["configuration"]
    return load(json.loads(whole))


@pytest.fixture(scope="session")
def claims(results):
    with (results / "claims.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_counts_equal_the_design(surveys, study, results):
    members = design(study)
    stored = [name for survey in surveys.values() for name in survey["network"].values]
    assert sorted(stored) == sorted(members)
    with (results / "design.csv").open(newline="") as file:
        assert [row["network"] for row in csv.DictReader(file)] == list(members)


def test_gap_is_train_minus_test_accuracy(surveys):
    for survey in surveys.values():
        np.testing.assert_array_equal(
            survey["gap"], survey["train_accuracy"] - survey["test_accuracy"]
        )


def test_status_says_whether_the_training_set_is_fitted(surveys):
    for survey in surveys.values():
        fitted = (survey["train_accuracy"] >= survey["fit_accuracy"]) & (
            survey["status"] != "diverged"
        )
        np.testing.assert_array_equal(survey["status"] == "fitted", fitted)
        assert set(survey["status"].values) <= {"fitted", "not fitted", "diverged"}


def test_nothing_is_missing_where_it_was_measured(surveys):
    for survey in surveys.values():
        fitted = survey.isel(network=np.flatnonzero(survey["status"] == "fitted"))
        for variable in ("jacobian_norm", "logit_jacobian_norm", "loss", "margin", "confidence"):
            assert np.isfinite(fitted[variable]).all(), variable
        assert not np.isnan(fitted["jacobian_norm_log10"]).any()
        others = survey.isel(network=np.flatnonzero(survey["status"] != "fitted"))
        diverged = survey.isel(network=np.flatnonzero(survey["status"] == "diverged"))
        assert np.isnan(diverged["jacobian_norm"]).all()
        measured = survey.isel(network=np.flatnonzero(survey["status"] == "not fitted"))
        assert np.isfinite(measured["jacobian_norm"]).all()
        assert np.isnan(others["transitions"]).all()
        assert (others["transitions_points"] == -1).all()
        for variable in SCHEMAS["complexity"].variables:
            assert np.isnan(others[variable]).all(), variable
            # the margin may lack a value where a tenth of the training set may be wrong, and the
            # sharpness where the noise can be searched for in vain: seldom
            share = 0.95 if variable.startswith("sharpness") else 1.0
            assert np.isfinite(fitted[variable]).mean() >= share, variable


def test_transitions_are_as_exact_as_asked(surveys, study):
    for name, survey in surveys.items():
        settings = study.settings("transitions", name)
        fitted = survey.isel(network=np.flatnonzero(survey["status"] == "fitted"))
        counts, points = fitted["transitions"], fitted["transitions_points"]
        np.testing.assert_array_equal(np.isfinite(counts).sum("sample"), points)
        assert (points >= min(settings["least"], settings["points"])).all()
        assert (points <= settings["points"]).all()
        error = counts.std("sample", ddof=1) / points**0.5 / fitted["mean_transitions"]
        np.testing.assert_allclose(error, fitted["transitions_error"], rtol=1e-9)
        enough = (error <= settings["precision"] * (1 + 1e-9)) | (points == settings["points"])
        assert enough.all()
        # the first points are the same for all: any two networks have one's points in common
        known = np.isfinite(counts).to_numpy()
        assert (known.any(0) == known[np.argmax(known.sum(1))]).all()


def some_points(study, name):
    """Whether norms are at a choice of the test points; outcomes are over all of them."""
    return study.settings("jacobian", name)["points"] is not None


def test_norms_and_counts_are_possible(surveys, study):
    for name, survey in surveys.items():
        fitted = survey.isel(network=np.flatnonzero(survey["status"] == "fitted"))
        norm, log10 = fitted["jacobian_norm"], fitted["jacobian_norm_log10"]
        assert (norm >= 0).all()
        np.testing.assert_array_equal((log10 == -np.inf).sum("sample"), fitted["jacobian_zero"])
        np.testing.assert_allclose(10.0**log10, norm, rtol=1e-9)
        # ||J|| <= ||diag f - f f^T|| ||A|| <= ||A|| / 2, up to rounding
        assert (norm <= 0.5 * fitted["logit_jacobian_norm"] * (1 + 1e-5)).all()
        assert (fitted["loss"] >= 0).all()
        right, accuracy = (fitted["margin"] > 0).mean("sample"), fitted["test_accuracy"]
        if some_points(study, name):
            error = np.sqrt(accuracy * (1 - accuracy) / survey.sizes["sample"])
            assert (np.abs(right - accuracy) < 5 * error).all()
        else:
            np.testing.assert_array_equal(right, accuracy)
        counts = fitted["transitions"].values[np.isfinite(fitted["transitions"].values)]
        assert (counts >= 0).all()
        assert (counts == np.round(counts)).all()
        # on a closed path every code comes back, so every unit changes an even number of times
        assert (counts % 2 == 0).all()


def test_complexity_measures_are_possible(surveys):
    for survey in surveys.values():
        fitted = survey.isel(network=np.flatnonzero(survey["status"] == "fitted"))
        # ||W||_2 <= ||W||_F, layer by layer
        assert (fitted["spectral_product_log10"] <= fitted["frobenius_product_log10"]).all()
        assert (fitted["spectral_distance"] <= fitted["distance"]).all()
        assert (fitted["distance"] > 0).all()
        for name in ("inverse_margin", "sharpness", "sharpness_magnitude"):
            assert (fitted[name].dropna("network") > 0).all(), name
        # the Lipschitz bound: no unit has a slope above 1, so no point's Jacobian is above it
        largest = np.log10(fitted["logit_jacobian_norm"].max("sample"))
        classes = len(np.unique(survey["label"]))
        bound = fitted["spectral_product_log10"] + np.log10(classes) / 2
        assert (largest <= bound + 1e-6).all()
        assert (fitted["fit_step"] <= fitted["steps_done"]).all()


def test_the_leaderboard_agrees_with_the_claims(results, claims, surveys):
    with (results / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(PREDICTORS) * len(surveys)
    board = {(row["dataset"], row["measure"]): row for row in rows}
    # C0.size has dummies of its own
    same = {
        "C2.raw": ("sensitivity", "raw"),
        "C2.within": ("sensitivity", "within"),
        "C0.size.raw": ("parameters", "raw"),
        "C0.loss": ("train_loss", "raw"),
        "C0.loss.within": ("train_loss", "within"),
    }
    for dataset in surveys:
        for key, (measure, column) in same.items():
            (claim,) = [row for row in claims if (row["dataset"], row["key"]) == (dataset, key)]
            if board[dataset, measure][column] and claim["estimate"]:
                # sums in another order may differ in the last of six digits
                assert float(board[dataset, measure][column]) == pytest.approx(
                    float(claim["estimate"]), rel=1e-5
                )
    for row in rows:
        for name in ("within", "raw", "kendall"):
            if row[name]:
                assert -1 <= float(row[f"{name}_low"]) <= float(row[name])
                assert float(row[name]) <= float(row[f"{name}_high"]) <= 1


def test_losses_agree_with_the_points(surveys, study):
    for name, survey in surveys.items():
        fitted = survey.isel(network=np.flatnonzero(survey["status"] == "fitted"))
        mean, whole = fitted["loss"].mean("sample"), fitted["test_loss"]
        if some_points(study, name):
            error = fitted["loss"].std("sample") / survey.sizes["sample"] ** 0.5
            assert (np.abs(mean - whole) < 5 * error).all()
        else:
            np.testing.assert_allclose(mean, whole, rtol=1e-4)
        np.testing.assert_allclose(
            fitted["jacobian_norm"].mean("sample"), fitted["sensitivity"], rtol=1e-12
        )


def test_pairs_are_whole(surveys):
    for survey in surveys.values():
        for factor, record in FACTORS.items():
            sides = [side.name for side in record.sides]
            pairs = {}
            for pair, side in zip(
                survey[f"pair_{factor}"].values, survey[f"side_{factor}"].values, strict=True
            ):
                assert (pair == "") == (side == "")
                if pair:
                    pairs.setdefault(pair, []).append(side)
            assert all(sorted(found) == sorted(sides) for found in pairs.values())


def test_the_default_study_is_large_enough(surveys, study):
    if study.study != "demo":
        pytest.skip("a property of the default study")
    survey = surveys["digits"]
    fitted = survey["status"] == "fitted"
    members = survey["in_survey"]
    assert members.sum() >= 320
    assert (fitted & members).sum() >= 0.6 * members.sum()
    assert (fitted & survey["in_ellipses"]).sum() >= 30
    # what is beside a claim's row may be too few: full augmentation changes the digits too much
    for factor in (name for name, record in FACTORS.items() if record.primary):
        names = survey[f"pair_{factor}"].values
        whole = [fitted.values[names == pair].all() for pair in set(names) - {""}]
        # of 24; at gain 4 some sides do not fit, and rounding decides which
        assert sum(whole) >= study.analysis.minimum_networks, factor


def test_every_variable_says_what_it_is(surveys):
    for survey in surveys.values():
        for variable in survey.variables.values():
            assert variable.attrs["long_name"]
            assert variable.attrs["units"]
        assert {"versions", "code", "python", "configuration"} <= set(survey.attrs)


def test_the_groups_open_without_a_warning(results, surveys):
    for name, survey in surveys.items():
        path = results / "survey" / f"{name}.zarr"
        curves = xr.open_zarr(path, group="training").load()
        assert curves["network"].values.tolist() == survey["network"].values.tolist()
        for group in ("ellipses", "slices"):
            if survey[f"in_{group}"].any():
                stored = xr.open_zarr(path, group=group).load()
                chosen = survey["network"][survey[f"in_{group}"] & (survey["status"] == "fitted")]
                along = f"{group}_network" if f"{group}_network" in stored.dims else "network"
                assert sorted(stored[along].values) == sorted(chosen.values)


def test_the_readmes_lines_on_results_run(results, surveys, capsys):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    section = text.partition("## Look at the results")[2]
    section = section.partition("\n## ")[0]
    # the data set of the network that they pick
    dataset, survey = max(surveys.items(), key=lambda item: float(item[1]["gap"].max()))
    section = section.replace("results/demo", str(results)).replace("digits", dataset)
    for code in re.findall(r"```python\n(.*?)```", section, re.S):
        exec(code, {})
    printed = capsys.readouterr().out
    assert "sensitivity" in printed
    assert f"torch.Size([1, {len(np.unique(survey['label']))}, " in printed


def test_the_flat_table_is_the_survey(results, surveys):
    with (results / "networks.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    with (results / "networks.columns.csv").open(newline="") as file:
        columns = list(csv.DictReader(file))
    assert list(table[0]) == ["network", *(row["column"] for row in columns)]
    assert all(row["description"] for row in columns)
    for name, survey in surveys.items():
        part = [row for row in table if row["dataset"] == name]
        assert [row["network"] for row in part] == survey["network"].values.tolist()
        assert [row["optimizer"] for row in part] == survey["optimizer"].values.tolist()
        for column in ("gap", "test_accuracy", "sensitivity", "mean_transitions"):
            values = [float(row[column] or "nan") for row in part]
            np.testing.assert_allclose(values, survey[column].values, rtol=1e-8)


def test_a_network_of_the_results_is_the_one_that_was_measured(results, surveys):
    opened = sensigap.open(results)
    for name, survey in surveys.items():
        fitted = survey["network"][survey["status"] == "fitted"].values.tolist()
        for identity in fitted[:2]:
            stored = survey["jacobian_norm"].sel(network=identity)
            stored = stored.dropna("sample")[:3]
            x = opened.inputs(name)[stored["sample"].values.tolist()]
            norm = jacobian_norm(opened.network(identity), x)
            np.testing.assert_allclose(norm, stored.values, rtol=1e-3)


def primary_keys():
    """The rows named before looking (STATISTICS, section 6) that a study's factors have."""
    factors = [f"{record.claim}.{name}" for name, record in FACTORS.items() if record.primary]
    return {
        *("C0.size", "C0.loss", "C1.order.different", "C1.order.one", "C1.transitions"),
        *("C2.within.crossfit", "C2.raw", *factors, "C5.loss", "C5.error"),
    }


def test_every_claim_has_its_primary_rows(claims, surveys):
    for dataset in surveys:
        rows = [row for row in claims if row["dataset"] == dataset]
        assert {row["key"] for row in rows if row["primary"] == "True"} == primary_keys()
        assert len({row["key"] for row in rows}) == len(rows)


def test_every_row_has_a_verdict(claims):
    for row in claims:
        assert row["verdict"] in VERDICTS
        untested = row["verdict"] in ("too few networks", "does not speak", "none")
        assert row["p"] or untested
        if row["key"].endswith(".untrained"):
            assert row["verdict"] == "none"
            assert row["p"] == ""
        if row["verdict"] == "too few networks":
            assert row["estimate"] == row["p"] == ""
            assert " of at least " in row["remarks"]
        assert int(row["architectures"]) <= max(int(row["n"]), 0)


def test_no_p_is_bare_and_holm_is_over_primary_rows(claims, surveys):
    for row in claims:
        if row["p"]:
            assert row["estimate"] != ""
            if row["effect"] == "F":
                assert row["low"] == row["high"] == ""
            else:
                assert float(row["low"]) <= float(row["estimate"]) <= float(row["high"])
        assert bool(row["p_holm"]) == (row["primary"] == "True" and bool(row["p"]))
    for dataset in surveys:
        tested = [
            (float(row["p"]), float(row["p_holm"]))
            for row in claims
            if row["dataset"] == dataset and row["p_holm"]
        ]
        tested.sort()
        so_far = 0.0
        for place, (p, p_holm) in enumerate(tested):
            so_far = max(so_far, min(1.0, p * (len(tested) - place)))
            assert p_holm == pytest.approx(so_far, rel=1e-4, abs=1e-300)


def test_verdicts_follow_from_the_numbers(claims, study):
    alpha = study.analysis.alpha
    for row in claims:
        if row["verdict"] in ("supported", "contradicted"):
            p = float(row["p_holm"] or row["p"])
            low, high = float(row["low"]), float(row["high"])
            assert float(row["level"]) == pytest.approx(
                1 - alpha * (2 if "equivalence" in row["test"] else 1)
            )
            if "equivalence" in row["test"]:
                limit = study.analysis.equivalence
                inside = -limit < low and high < limit
                assert inside == (row["verdict"] == "supported")
            else:
                null = 0.5 if "AUC" in row["effect"] else 0.0
                assert p < alpha
                assert low > null or high < null


def test_figures_and_report_are_there_and_offline(results):
    for stem in FIGURES:
        for suffix in FIGURE_SUFFIXES:
            assert (results / "figures" / f"{stem}{suffix}").stat().st_size > 0
    text = (results / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)


def test_configuration_is_kept_with_the_report(results, study):
    text = (results / "report.html").read_text()
    assert f"study: {study.study}" in text
    assert yaml.safe_load(f"study: {study.study}")["study"] == study.study
