"""What the claims say, for a reader who does not know the paper."""

from typing import NamedTuple


class Claim(NamedTuple):
    """A claim: its sentence, and how its rows test it."""

    sentence: str
    explanation: str


#: claim -> what it says; STUDY, 'The claims to test', and STATISTICS, section 6
CLAIMS = {
    "C0": Claim(
        "Among networks that fit their training set, larger ones generalize better, and the "
        "training loss does not tell which.",
        "Tested as a rank correlation of the generalization gap (training minus test accuracy) "
        "with the number of parameters within equal hyper-parameters, claimed to be negative, and "
        "with the training loss, claimed to be practically zero: a test of equivalence, whose p is "
        "small where the correlation lies within the limits. Both may be mixed by gain and "
        "optimizer. Beside them: the lower envelope of the gap by size, which is the paper’s own "
        "picture, and the training loss of the networks that generalize best.",
    ),
    "C1": Claim(
        "Trained networks are more robust to changes of their input near the training data than "
        "away from it.",
        "Sensitivity is followed along ellipses through training points. The primary rows ask for "
        "the order of the Jacobian norm: near the data, between them, on random ellipses; and "
        "whether training lowers the density of transitions near the data against half-way "
        "between. Other rows are logarithms of ratios, near the training points over half-way "
        "between them, and on ellipses through data over random ones: below 0 means more robust "
        "near the data. Rows marked ‘control’ repeat this for the same networks before training.",
    ),
    "C2": Claim(
        "The Jacobian norm at test points goes with the generalization gap: networks whose output "
        "reacts more strongly to small changes of the input generalize worse.",
        "Tested as a rank correlation over networks, claimed to be positive, and once more within "
        "equal hyper-parameters, since a hyper-parameter such as the scale of the initial weights "
        "may move both; there the norm is taken over one half of the test points and the test "
        "accuracy over the other (cross-fitted), since the two share the points otherwise. A "
        "network’s sensitivity is the arithmetic mean of the norm over test points, which measures "
        "how much decision boundary lies near the data; by other averages the relation is another, "
        "and the secondary rows say how much.",
    ),
    "C3": Claim(
        "What makes networks generalize worse (random labels, full-batch training) also makes them "
        "more sensitive.",
        "Tested on pairs of networks that are equal in everything but that one factor: the side "
        "presumed worse against the other, an effect above 0 (a difference of gaps, or a "
        "logarithm of a ratio) being as claimed. One primary row a factor asks for both at once, a "
        "larger gap and a larger Jacobian norm, and does not speak to the claim where the factor "
        "did not move the gap as presumed; with random labels the gap is large by construction, so "
        "that the norm is tested alone. Gap, norm and transitions (boundaries of the network’s "
        "linear regions on a closed path around a test point) alone are secondary rows. The paper "
        "found that transitions follow generalization for every factor except the optimizer "
        "(L-BFGS).",
    ),
    "C4": Claim(
        "What makes networks generalize better (data augmentation, ReLU rather than saturating "
        "units) also makes them less sensitive.",
        "Tested on pairs of networks, as C3: again the side presumed worse against the other, so "
        "that an effect above 0 is as claimed.",
    ),
    "C5": Claim(
        "The Jacobian norm at a single test point tells how well the network does at that very "
        "point.",
        "Tested within each of a choice of networks over test points, and then over networks: the "
        "rank correlation of the norm with the loss, and how well the norm tells misclassified "
        "points from others (area under the ROC curve: 0.5 is chance). The baseline stands beside "
        "it: how much better or worse 1 − confidence does the same, and what the norm says once "
        "confidence is known. Further rows: the logistic slope for each tenfold increase of the "
        "norm, the share of points within the bounds of the analytic relation, and one model of "
        "all these networks, its slope for each standard deviation of the norm’s logarithm within "
        "a network.",
    ),
    "C6": Claim(
        "Beyond the paper: training with Gaussian input noise lowers the Jacobian norm at clean "
        "test points and, in the same pairs, the gap.",
        "Tested on pairs of networks, as C3. ‘Supported’ says that the two move together under an "
        "intervention, not that the norm is the cause: noise is augmentation too.",
    ),
}

#: verdict -> (class of its style, what it means)
VERDICTS = {
    "supported": (
        "supported",
        "the effect is significant in the claimed direction, and its interval clear of no effect; "
        "for a claim of no relation: it is significantly within the limits of equivalence",
    ),
    "contradicted": (
        "contradicted",
        "the same, in the other direction; for a claim of no relation: its interval lies beyond "
        "the limits of equivalence",
    ),
    "mixed": ("mixed", "groups of a named axis are each significant in opposite directions"),
    "not supported": ("unsupported", "none of these: the study cannot tell"),
    "does not speak": (
        "silent",
        "what the row presumes did not happen (the factor did not move the gap as presumed), or "
        "its test does not apply to these data",
    ),
    "too imprecise": (
        "imprecise",
        "a claim of no relation that these networks could hardly show even if it were true",
    ),
    "too few networks": (
        "few",
        "not tested, since too few networks, pairs or architectures are left",
    ),
}
#: what stands in the place of a verdict where a row is to compare with
NONE = "none"
#: and where nobody asked: the table's verdict is 'too few networks' then, as STATISTICS has it
ABSENT = "not in this study"
#: all that rows are counted and listed by, as `VERDICTS`
SHOWN = VERDICTS | {
    ABSENT: (
        "absent",
        "nothing to test: of this data set the configuration asks for no such pairs (factors) or "
        "networks (survey, share of ellipses)",
    )
}
