"""What measures and declarations both name: kinds of ellipses, states of a network, limits."""

#: by their three anchors: training points of different classes, of one class, or none at all
ELLIPSE_KINDS = ("different classes", "one class", "random")
#: weights before and after training
STATES = ("initial", "trained")
#: ASSUME: confidence below which a point counts as one of low confidence
LOW_CONFIDENCE = 0.9
#: ASSUME: mean of the largest logit minus the second at which networks are compared; the softmax is
#: then sure of most points and not of all
TEMPERED_MARGIN = 5.0
