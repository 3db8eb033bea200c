"""What the tests of the claims need of a study's networks, for the tests and for the pilot."""

#: hyper-parameters that make an architecture, the clusters of a row's error; in pairs without the
#: unit, which a factor may change
ARCHITECTURE = ("depth", "width", "unit")
PAIR_ARCHITECTURE = ("depth", "width")
#: STUDY asks for this many networks with ellipses, whatever the smallest number of other claims
ELLIPSE_NETWORKS = 30
