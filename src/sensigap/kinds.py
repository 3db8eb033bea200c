"""Names of what is measured along curves: kinds of ellipses, states of a network."""

#: by their three anchors: training points of different classes, of one class, or none at all
ELLIPSE_KINDS = ("different classes", "one class", "random")
#: weights before and after training
STATES = ("initial", "trained")
