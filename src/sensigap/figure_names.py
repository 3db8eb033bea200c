"""The figures by name, for those that must not import matplotlib."""

#: name of a figure, of its module in `sensigap.figures` and of its files -> the first sentence of
#: its caption, without its full stop; in the order of the report
FIGURES: dict[str, str] = {
    "sensitivity": "Sensitivity and generalization gap (C2)",
    "effects": "Effects of the claims, the factors and the measures, data set by data set",
    "parameters": "Size, training loss and generalization gap (C0)",
    "factors": "Pairs of networks that differ in one factor (C3, C4)",
    "points": "Jacobian norm, loss and correctness at single test points (C5)",
    "ellipses": "Sensitivity along ellipses in input space (C1)",
    "slices": "Linear regions before and after training",
    "leaderboard": "Sensitivity beside complexity measures of the literature",
}
