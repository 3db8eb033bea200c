"""The answer in sentences, of tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from sensigap.report.answer import answers


def claims(raw="supported", within="supported", estimate=0.8, **more):
    rows = [
        ("C2.raw", raw, estimate),
        ("C2.within.crossfit", within, 0.4),
        ("C4.unit", "does not speak", 0.1),
    ]
    table = pd.DataFrame(rows, columns=["key", "verdict", "estimate"])
    return table.assign(
        dataset=more.get("dataset", "digits"),
        primary=True,
        n=1_234,
        low=table["estimate"] - 0.1,
        high=table["estimate"] + 0.1,
    )


def board(behind=(0.2, 0.1, 0.3), within=0.6, dataset="digits"):
    rows = [
        ("sensitivity", "Jacobian norm", True, within, (np.nan,) * 3),
        ("tempered", "another of ours", True, 0.9, (-0.3, -0.4, -0.2)),
        ("path_norm", "PAC-Bayes path norm", False, 0.4, behind),
        ("distance", "distance", False, -0.4, (1.0, 0.9, 1.1)),
        ("few", "few", False, np.nan, (np.nan,) * 3),
    ]
    return pd.DataFrame(
        [
            {
                "dataset": dataset,
                "measure": measure,
                "label": label,
                "own": own,
                "within": value,
                "behind": gap[0],
                "behind_low": gap[1],
                "behind_high": gap[2],
            }
            for measure, label, own, value, gap in rows
        ]
    )


@pytest.mark.parametrize(
    ("raw", "within", "beginning"),
    [
        ("supported", "supported", "More sensitive networks generalize worse, also at equal"),
        (
            "supported",
            "not supported",
            "More sensitive networks generalize worse: rank correlation 0.80 [0.70, 0.90] over "
            "1,234 networks; but at equal hyper-parameters that is not supported:",
        ),
        ("mixed", "supported", "At equal hyper-parameters more sensitive networks generalize"),
        (
            "contradicted",
            "not supported",
            "That more sensitive networks generalize worse is contradicted:",
        ),
    ],
)
def test_the_relation_is_told_by_its_verdicts(raw, within, beginning):
    (found,) = answers(claims(raw, within), board())
    first = found["sentences"][0]
    assert first.startswith(beginning)
    assert "0.40 [0.30, 0.50] (cross-fitted)" in first


def test_too_few_networks_tell_nothing():
    (found,) = answers(claims(raw="too few networks", estimate=np.nan), board())
    assert found["sentences"][0].endswith("is not told: too few networks.")


@pytest.mark.parametrize(
    ("behind", "end"),
    [
        ((0.2, 0.1, 0.3), "0.40 to the Jacobian norm’s 0.60, which is ahead of all of them."),
        ((0.2, -0.1, 0.5), "not to be told apart."),
        ((-0.2, -0.3, -0.1), "which falls behind."),
        ((np.nan,) * 3, "0.40 to the Jacobian norm’s 0.60."),
    ],
)
def test_the_best_rival_is_not_one_of_ours(behind, end):
    (found,) = answers(claims(), board(behind))
    second = found["sentences"][1]
    assert second.startswith("Of 2 other measures, PAC-Bayes path norm does best")
    assert second.endswith(end)


def test_what_is_not_supported_is_named():
    (found,) = answers(claims(raw="mixed"), board())
    assert found["supported"] == "1 of 3 primary rows are supported"
    assert [(row["key"], row["verdict"], row["style"]) for row in found["others"]] == [
        ("C2.raw", "mixed", "mixed"),
        ("C4.unit", "does not speak", "silent"),
    ]
    assert found["others"][0]["id"] == "digits-C2.raw"


def test_what_nobody_asked_for_is_listed_apart_and_does_not_count():
    table = claims().replace({"verdict": {"does not speak": "not in this study"}})
    (found,) = answers(table, board())
    assert found["supported"] == "2 of 2 primary rows are supported"
    assert found["others"] == []
    assert [(row["key"], row["id"], row["style"]) for row in found["absent"]] == [
        ("C4.unit", "digits-C4.unit", "absent")
    ]


def test_each_data_set_has_its_answer():
    table = pd.concat([claims(), claims(dataset="mnist", within="not supported")])
    found = answers(table, board())
    assert [one["dataset"] for one in found] == ["digits", "mnist"]
    # a data set without a leaderboard says nothing of rivals
    assert len(found[0]["sentences"]) == 2
    assert len(found[1]["sentences"]) == 1


def test_studies_without_these_rows_have_no_sentences():
    table = claims().iloc[2:]
    (found,) = answers(table, board(within=np.nan))
    assert found["sentences"] == []
