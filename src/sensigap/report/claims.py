"""What the claims say, for a reader who does not know the paper."""

from typing import NamedTuple


class Claim(NamedTuple):
    """A claim: its sentence, and how its rows test it."""

    sentence: str
    explanation: str


#: claim -> what it says; STUDY, 'The claims to test'
CLAIMS = {
    "C0": Claim(
        "Among networks that fit their training set, larger ones generalize better, and the "
        "training loss does not tell which.",
        "Tested as a rank correlation of the generalization gap (training minus test accuracy) "
        "with the number of parameters, claimed to be negative, and with the training loss, "
        "claimed to be practically zero; each once more within equal hyper-parameters.",
    ),
    "C1": Claim(
        "Trained networks are more robust to changes of their input near the training data than "
        "away from it.",
        "Sensitivity is followed along ellipses through training points. Tested as the logarithm "
        "of a ratio, near the training points over half-way between them, and on ellipses through "
        "data over random ones: below 0 means more robust near the data. Rows marked 'control' "
        "repeat this for the same networks before training.",
    ),
    "C2": Claim(
        "The Jacobian norm at test points goes with the generalization gap: networks whose output "
        "reacts more strongly to small changes of the input generalize worse.",
        "Tested as a rank correlation over networks, claimed to be positive, and once more within "
        "equal hyper-parameters, since a hyper-parameter such as the scale of the initial weights "
        "may move both.",
    ),
    "C3": Claim(
        "What makes networks generalize worse (random labels, full-batch training) also makes them "
        "more sensitive.",
        "Tested on pairs of networks that are equal in everything but that one factor: the side "
        "presumed worse against the other, an effect above 0 (a difference of gaps, or a "
        "logarithm of a ratio) being as claimed. Sensitivity is the Jacobian norm, and, over a "
        "distance, the number of transitions: boundaries of the network's linear regions on a "
        "closed path around a test point. The row on the gap comes first: the others speak to the "
        "claim only where the gap moved as presumed. The paper found that transitions follow "
        "generalization for every factor except the optimizer (batch).",
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
        "rank correlation of the norm with the loss, how well the norm tells misclassified points "
        "from others (area under the ROC curve: 0.5 is chance), and the logistic slope for each "
        "tenfold increase of the norm. The last row is one model of all these networks, its slope "
        "for each standard deviation of the norm's logarithm within a network.",
    ),
    "C6": Claim(
        "Training with Gaussian input noise lowers the Jacobian norm at clean test points and, in "
        "the same pairs, the generalization gap (a claim beyond the paper).",
        "Tested on pairs of networks, as C3: no noise against noise, so that an effect above 0 is "
        "as claimed. 'Supported' says that the two move together under an intervention, not that "
        "the norm is the cause: noise is augmentation too.",
    ),
}

#: verdict -> (class of its style, what it means)
VERDICTS = {
    "supported": (
        "supported",
        "the effect is significant after Holm's adjustment, in the claimed direction, and its "
        "interval is clear of no effect; for a claim of no relation: the interval lies within the "
        "limits of equivalence",
    ),
    "contradicted": ("contradicted", "the same, in the other direction"),
    "not supported": (
        "unsupported",
        "neither of the two: the study cannot tell, or the gap did not move as presumed",
    ),
    "too few networks": ("few", "not tested, since too few networks or pairs are left"),
}
