"""Paths and planes in input space along which sensitivity is measured."""

import numpy as np

from sensigap.kinds import ELLIPSE_KINDS

#: angles at which an ellipse passes through its three anchors
ANCHOR_ANGLES = (np.pi / 3, np.pi, 5 * np.pi / 3)


def translations(images: np.ndarray) -> np.ndarray:
    """The polygon of an image's horizontal translations by 0, 1, ..., w - 1 pixels, wrapped around.

    Translating with wrap-around only permutes the pixels, so that every vertex of a standardised
    image is standardised too (STUDY, 'Measures').

    Args:
        images: (point, channel, height, width), standardised.

    Returns:
        vertices (point, w, channel height width), in the images' dtype.
    """
    points, _, _, width = images.shape
    shifted = [np.roll(images, k, axis=3).reshape(points, -1) for k in range(width)]
    return np.stack(shifted, axis=1)


def ellipse(anchors: np.ndarray) -> np.ndarray:
    """The ellipse x(theta) = c + a cos theta + b sin theta through three anchors (3, d).

    It passes through them at pi/3, pi, 5 pi/3: c is their mean, a = c - x2, b = (x1 - x3)/sqrt 3.

    Returns:
        (3, d): c, a, b.
    """
    x1, x2, x3 = anchors.astype(np.float64)
    c = (x1 + x2 + x3) / 3
    return np.stack([c, c - x2, (x1 - x3) / np.sqrt(3.0)])


def random_ellipse(inputs: int, rng: np.random.Generator) -> np.ndarray:
    """An ellipse (3, d) with c = 0 and a, b ~ N(0, I): expected squared norm d at every angle."""
    return np.concatenate([np.zeros((1, inputs)), rng.standard_normal((2, inputs))])


def anchors_of(kind: str, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of three training points of different classes, or of one class.

    Classes are drawn first, then a point of each, so that a frequent class is not drawn more often.

    Args:
        kind: 'different classes' or 'one class', of `ELLIPSE_KINDS`.
        labels: true classes (training point).
        rng: the generator to draw from.

    Raises:
        ValueError: there are not enough classes, or no class has three points.
    """
    sizes = np.bincount(labels)
    if kind == ELLIPSE_KINDS[0]:
        present = np.flatnonzero(sizes)
        if len(present) < 3:
            raise ValueError(
                f"an ellipse through three classes needs three, the training set has {len(present)}"
            )
        chosen = rng.choice(present, 3, replace=False)
        return np.array([rng.choice(np.flatnonzero(labels == c)) for c in chosen])
    large = np.flatnonzero(sizes >= 3)
    if len(large) == 0:
        raise ValueError(
            "an ellipse through one class needs three training points of a class, "
            f"the largest class has {sizes.max(initial=0)}: use more training images"
        )
    return rng.choice(np.flatnonzero(labels == rng.choice(large)), 3, replace=False)


def ellipse_points(ellipses: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Points (ellipse, angle, d) at angles (angle) in radians on ellipses (ellipse, 3, d)."""
    basis = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
    return np.einsum("ak,ekd->ead", basis, ellipses)


def arc_lengths(ellipses: np.ndarray, count: int) -> np.ndarray:
    """Lengths (ellipse, count) of the arcs between `count` equally spaced angles, the first from 0.

    Gauss-Legendre quadrature of the speed |x'(theta)| with 8 nodes an arc.
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)
    step = 2 * np.pi / count
    theta = step * (np.arange(count)[:, None] + (nodes + 1) / 2)
    a, b = ellipses[:, 1], ellipses[:, 2]
    aa, bb, ab = ((u * v).sum(1)[:, None, None] for u, v in ((a, a), (b, b), (a, b)))
    sine, cosine = np.sin(theta), np.cos(theta)
    speed = np.sqrt(np.maximum(aa * sine**2 + bb * cosine**2 - 2 * ab * sine * cosine, 0.0))
    return speed @ weights * (step / 2)


def plane(anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal coordinates of the plane through three points (3, d).

    The origin is the point of the plane closest to 0. Standardised images have one norm, so it is
    at the same distance from all three. The x axis is parallel to the line through the first two.

    Returns:
        frame (3, d): origin and the unit vectors of x and y; coordinates (3, 2) of the points.

    Raises:
        ValueError: the points are on one line.
    """
    points = anchors.astype(np.float64)
    first, second = points[1] - points[0], points[2] - points[0]
    length = np.linalg.norm(first)
    x = first / length if length > 0 else first
    rest = second - (second @ x) * x
    height = np.linalg.norm(rest)
    if height <= 1e-9 * max(length, np.linalg.norm(second)):
        raise ValueError("three points on one line span no plane: choose others")
    y = rest / height
    origin = points[0] - (points[0] @ x) * x - (points[0] @ y) * y
    return np.stack([origin, x, y]), points @ np.stack([x, y]).T
