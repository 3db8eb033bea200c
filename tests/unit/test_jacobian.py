import dataclasses
import math

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from measure_helpers import digits, fitted, untrained
from sensigap.measures import active, backward, jacobian, jacobian_norm, jacobian_rows
from sensigap.networks import from_sequential
from sensigap.units import UNITS


def points(count=40, start=300):
    return torch.from_numpy(digits()[0][start : start + count]).double()


def autograd_rows(stack, network, x, output):
    """vmap(jacrev) in float64: the Jacobian (point, class, d)."""
    model = stack.to(torch.float64).sequential(network)

    def function(point):
        z = model(point)
        return torch.softmax(z, -1) if output == "softmax" else z

    return torch.func.vmap(torch.func.jacrev(function))(x).detach()


def autograd_norms(stack, network, x, output):
    """Norms (point) by autograd, and the largest probability (point)."""
    rows = autograd_rows(stack, network, x, output)
    confidence = torch.softmax(stack.to(torch.float64).logits(x)[network], -1).amax(1)
    return rows.flatten(1).norm(dim=1), confidence


def in_many_digits(stack, network, point, output):
    """Rows, norm and log10 of it by the textbook formula (diag f - f f^T) A, in 500 digits.

    The digits must outnumber those by which 1 - max f falls short of 1.
    """
    with mpmath.workdps(500):
        exact = np.vectorize(mpmath.mpf, otypes=[object])
        h, A = exact(point.numpy()), None
        for l in range(stack.depth + 1):
            w = exact(stack.weights[l][network].double().numpy())
            h = h @ w + exact(stack.biases[l][network].double().numpy())
            A = w.T if A is None else w.T @ A
            if l < stack.depth:
                shift, low, high = (
                    float(v[network, l]) for v in (stack.shift, stack.low, stack.high)
                )
                A = A * np.array([[int(low < z + shift < high)] for z in h])
                h = np.array([min(max(z + shift, low), high) for z in h])
        if output == "softmax":
            f = np.array([mpmath.exp(z) for z in h])
            f = f / f.sum()
            A = f[:, None] * (A - f @ A)
        norm = mpmath.sqrt((A * A).sum())
        return A.astype(np.float64), float(norm), float(mpmath.log10(norm))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("output", ["logits", "softmax"])
def test_equals_autograd_in_float64(unit, trained, output):
    stack = (fitted(unit) if trained else untrained(units=[unit])).to(torch.float64)
    x = points()
    expected, confidence = autograd_norms(stack, 0, x, output)
    found = jacobian_norm(stack, x, output)[0]
    usable = torch.ones(len(x), dtype=torch.bool) if output == "logits" else 1 - confidence > 1e-4
    assert usable.any()
    torch.testing.assert_close(found[usable], expected[usable], rtol=1e-9, atol=0)


@pytest.mark.parametrize("width", [10, 100])
@pytest.mark.parametrize("route", ["masked", "units", "active"])
def test_routes_through_the_layers(width, route, monkeypatch):
    # 100 units: the plain product with W_1 (64, 100); 10 units: its triangular factor
    monkeypatch.setattr(backward, "active_pays", lambda *_: route == "active")
    monkeypatch.setattr(backward.StackBackward, "_units_pay", lambda *_: route == "units")
    monkeypatch.setattr(backward, "TRIANGLE_COLUMNS", 4)
    stack = untrained(width=width, depth=3, units=["relu", "hardtanh"])
    x = points(400)
    blocks = backward.StackBackward(stack, 0, 4000)._norm_blocks
    assert sum(block.shape[1] for _, block in blocks) == min(width, 64)
    assert len(blocks) == (2 if width == 10 else 1)
    for k in range(2):
        for output in ("logits", "softmax"):
            expected, _ = autograd_norms(stack, k, x[:50], output)
            found = jacobian_norm(stack, x, output)[k, :50]
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_the_route_taken_is_the_cheaper_one_by_count():
    def pays(width, classes):
        x = torch.zeros(5, 20, dtype=torch.float64)
        stack = from_sequential(
            nn.Sequential(
                *(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
                nn.Linear(width, classes),
            )
        )
        network = backward.StackBackward(stack, 0, 5 * classes)
        _, derivatives = network.forward(x + torch.linspace(-1, 1, 20))
        return active.active_pays(classes - 1, network._hidden, network._norm_blocks, derivatives)

    assert pays(width=400, classes=100)
    assert not pays(width=400, classes=10), "copying half of the weights costs more than it saves"
    assert not pays(width=10, classes=100), "a point costs more than its products"


@pytest.mark.parametrize(
    ("width", "depth", "pays"), [(10, 2, True), (50, 2, False), (50, 1, False)]
)
def test_rows_of_units_where_these_are_fewer_than_classes(width, depth, pays):
    stack = untrained(width=width, depth=depth, classes=30)
    network = backward.StackBackward(stack, 0, 100)
    assert network._units_pay(29, network._norm_blocks) == pays


def saturated(unit="relu", gain=8.0, scale=3.0):
    """A fitted network of large initial weights whose logits are scaled up: 1 - max f is tiny."""
    stack = fitted(unit, gain=gain, width=24, depth=2).to(torch.float64)
    stack.weights[-1] = stack.weights[-1] * scale
    return stack


def test_saturated_points_against_many_digits():
    stack = saturated()
    x = points(6)
    result = jacobian.measure_points(stack, x)
    best = result.logits[0].sort(descending=True).values
    rest = (torch.logsumexp(best[:, 1:], 1) - best[:, 0]) / np.log(10)  # log10 of 1 - max f
    assert rest.min() < -50
    assert rest.max() > -20
    for output in jacobian.OUTPUTS:
        for k in range(len(x)):
            rows, norm, log = in_many_digits(stack, 0, x[k], output)
            np.testing.assert_allclose(
                jacobian_rows(stack, x[k : k + 1], output)[0, 0], rows, rtol=1e-9, atol=1e-9 * norm
            )
            assert result.norm(output)[0, k].item() == pytest.approx(norm, rel=1e-9)
            assert result.log10_norm[output][0, k].item() == pytest.approx(log, abs=1e-9)


def test_the_logarithm_outlives_the_norm():
    stack = saturated(scale=1000.0)
    x = points(8)
    log = jacobian_norm(stack, x, log10=True)[0]
    assert log.isfinite().all()
    assert log.min() < -400, "not small enough to underflow"
    assert (jacobian_norm(stack, x)[0][log < -330] == 0).all()


@pytest.mark.parametrize("unit", UNITS)
def test_float32_networks_against_float64(unit):
    stack = fitted(unit)
    x = points(200)
    exact = stack.to(torch.float64)
    for output in ("softmax", "logits"):
        found, expected = jacobian_norm(stack, x, output), jacobian_norm(exact, x, output)
        assert found.dtype == torch.float64
        flat = expected == 0  # a whole layer of HardSigmoid units is saturated
        assert torch.equal(found == 0, flat)
        error = ((found - expected).abs() / expected)[~flat]
        assert error.median() < 1e-6
        assert error.quantile(0.99) < 1e-5


def test_deep_float32_networks_of_gain_8_and_half_neither_overflow_nor_underflow():
    x = points(50)
    for gain in (8.0, 0.5, 1000.0, 1e-3):
        stack = untrained(depth=15, gain=gain, precision="float32", width=64, bias=0.0)
        found = jacobian_norm(stack, x, "logits", log10=True)
        expected = jacobian_norm(stack.to(torch.float64), x, "logits", log10=True)
        assert found.isfinite().all()
        assert (found - expected).abs().max() < 1e-5


def test_zero_exactly_where_the_logit_jacobian_is():
    # HardSigmoid is flat below -1/2 and above 1/2: large weights saturate whole layers somewhere
    stack = untrained(units=["hardsigmoid"], width=4, depth=2, gain=10.0, bias=2.0)
    x = points(300)
    logits, _ = autograd_norms(stack, 0, x, "logits")
    result = jacobian.measure_points(stack, x)
    zero = logits == 0
    assert 0 < zero.sum() < len(x)
    for output in jacobian.OUTPUTS:
        assert torch.equal(result.log10_norm[output][0] == -torch.inf, zero)
        assert torch.equal(result.norm(output)[0] == 0, zero)


def test_one_pass_gives_what_single_ones_give_and_the_logits():
    stack = fitted("relu6")
    x = points(30)
    both = jacobian.measure_points(stack, x)
    torch.testing.assert_close(both.logits, stack.to(torch.float64).logits(x))
    for output in jacobian.OUTPUTS:
        torch.testing.assert_close(
            both.norm(output), jacobian_norm(stack, x, output), rtol=1e-5, atol=0
        )


def test_chunks_and_company_change_nothing_but_rounding(monkeypatch):
    stack = untrained(units=sorted(UNITS), precision="float64")
    x = points(100)
    whole = jacobian_norm(stack, x)
    assert torch.equal(jacobian_norm(stack.select([2]), x)[0], whole[2])
    monkeypatch.setattr(jacobian, "CHUNK_BYTES", 1)
    torch.testing.assert_close(jacobian_norm(stack, x), whole, rtol=1e-12, atol=0)


def test_small_shapes():
    linear = from_sequential(nn.Sequential(nn.Linear(64, 3)).double())
    x = points(5)
    expected = linear.weights[0].norm().expand(1, 5)
    torch.testing.assert_close(jacobian_norm(linear, x, "logits"), expected)
    torch.testing.assert_close(
        jacobian_norm(linear, x)[0], autograd_norms(linear, 0, x, "softmax")[0]
    )
    single = from_sequential(nn.Sequential(nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 1)).double())
    with pytest.warns(UserWarning, match="one logit.* ask for output='logits'"):
        assert (jacobian_norm(single, x) == 0).all(), "the softmax of one class is constant"
    torch.testing.assert_close(
        jacobian_norm(single, x, "logits")[0], autograd_norms(single, 0, x, "logits")[0]
    )
    assert jacobian_norm(single, x[:0], "logits").shape == (1, 0)


def test_errors_say_what_is_wrong():
    stack = untrained()
    with pytest.raises(ValueError, match=r"expected shape \(point, 64\), found \(2, 8, 8\)"):
        jacobian_norm(stack, torch.zeros(2, 8, 8))
    for function in (jacobian_norm, jacobian_rows):
        with pytest.raises(ValueError, match="expected one of softmax, logits, found 'margin'"):
            function(stack, points(1), "margin")
    with pytest.raises(ValueError, match="expected one of frobenius, spectral, found 'nuclear'"):
        jacobian_norm(stack, points(1), order="nuclear")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("output", jacobian.OUTPUTS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rows_and_spectral_norms_against_autograd(unit, output, precision):
    stack = untrained(units=["relu", unit], width=20, depth=2, precision=precision)
    x = points(30)
    rtol = 1e-9 if precision == "float64" else 1e-5
    rows = jacobian_rows(stack, x, output)
    spectral = jacobian_norm(stack, x, output, order="spectral")
    assert rows.shape == (2, 30, 10, 64)
    for k in range(2):
        expected = autograd_rows(stack, k, x, output)
        scale = expected.flatten(1).norm(dim=1)[:, None, None]
        assert ((rows[k] - expected).abs() <= rtol * scale).all()
        singular = torch.linalg.svdvals(expected)[:, 0]
        torch.testing.assert_close(spectral[k], singular, rtol=rtol, atol=0)


def test_spectral_norms_do_not_underflow():
    stack = saturated(scale=1000.0)
    x = points(8)
    spectral = jacobian_norm(stack, x, order="spectral", log10=True)
    frobenius = jacobian_norm(stack, x, log10=True)
    assert spectral.min() < -400
    assert (spectral <= frobenius + 1e-9).all()
    # two rows of opposite sign are all there is: the two norms agree
    torch.testing.assert_close(spectral, frobenius, rtol=0, atol=0.2)


def test_float32_squares_out_of_range_are_carried_again(monkeypatch):
    stack = untrained(depth=3, width=30, precision="float32")
    x = points(20)
    expected = jacobian_norm(stack.to(torch.float64), x, log10=True)
    # as if the weights' own scaling had been far off
    scaled = backward._scaled
    for exponent in (-30, 30):

        def off(weight, exponent=exponent):
            matrix, power = scaled(weight)
            return torch.ldexp(matrix, torch.tensor(exponent)), power - exponent

        monkeypatch.setattr(backward, "_scaled", off)
        for output in jacobian.OUTPUTS:
            found = jacobian_norm(stack, x, output, log10=True)
            assert found.isfinite().all()
        torch.testing.assert_close(jacobian_norm(stack, x, log10=True), expected, rtol=0, atol=1e-5)


def test_float32_points_are_taken_as_they_are():
    stack = fitted()
    x = points(3)
    assert np.array_equal(jacobian_norm(stack, x), jacobian_norm(stack, x.float()))


def test_float32_squares_of_small_rows_do_not_vanish():
    # the two best classes are the same, so that the largest f_j multiplies rows that are 0, and
    # what is left of the rows has squares that float32 does not hold
    stack = untrained(depth=2, width=30, precision="float32", bias=0.0)
    stack.weights[-1][..., 1] = stack.weights[-1][..., 0]
    stack.biases[-1][..., :2] = 100.0
    x = points(3)
    result = jacobian_norm(stack, x, log10=True)[0]
    for k in range(len(x)):
        assert result[k].item() == pytest.approx(in_many_digits(stack, 0, x[k], "softmax")[2], 1e-6)


@pytest.mark.parametrize("factor", [2.0**65, 2.0**-65])
def test_float32_networks_whose_units_differ_in_scale(factor):
    # half of the first layer's units scaled, and un-scaled in the next layer: the same function
    stack = untrained(depth=2, width=30, precision="float32")
    x = points(20)
    expected = {output: jacobian_norm(stack, x, output) for output in jacobian.OUTPUTS}
    stack.weights[0][..., :15] *= factor
    stack.biases[0][..., :15] *= factor
    stack.weights[1][:, :15] /= factor
    for output in jacobian.OUTPUTS:
        found = jacobian_norm(stack, x, output)
        torch.testing.assert_close(found, expected[output], rtol=1e-6, atol=0)


def test_float64_weights_beyond_the_range_of_float32():
    stack = untrained(depth=2, bias=0.0)
    x = points(5)
    expected = jacobian_norm(stack, x, "logits", log10=True)
    for l in range(3):
        for exponent in (-100, 100):
            stack.weights[l] *= 10.0**exponent
            found = jacobian_norm(stack, x, "logits", log10=True)
            torch.testing.assert_close(found, expected + exponent, rtol=1e-12, atol=0)
            stack.weights[l] /= 10.0**exponent


def test_points_that_are_not_finite_are_refused():
    # NaN exceeds no bound: all units would count as dead, and the norm would be 0
    stack, x = untrained(units=["relu", "relu"]), points(50)
    x[41, 3] = torch.nan
    for order in jacobian.ORDERS:
        with pytest.raises(ValueError, match=r"points x: .* 1 of 3200 .*at point 41"):
            jacobian_norm(stack, x, "logits", order=order)
    stack.weights[1][1, 0] = torch.inf
    with pytest.raises(
        ValueError, match=r"stack\.weights\[1\]: .*found 32 of 2048 .*first at network 1"
    ):
        jacobian_rows(stack, points(3))


def test_what_cannot_be_measured_is_named():
    with pytest.raises(TypeError, match=r"expected a Stack or an nn.Sequential, found Linear"):
        jacobian_norm(nn.Linear(64, 10), points(1))
    with pytest.raises(ValueError, match="expected some of softmax, logits, found none"):
        jacobian.measure_points(untrained(), points(1), ())


# --- logits divided by a temperature --------------------------------------------------------------


def cooled(stack, temperatures):
    """The same networks with their last layers over a temperature each, in float64."""
    stack = stack.to(torch.float64)
    by = torch.tensor(temperatures, dtype=torch.float64)[:, None, None]
    weights = [*stack.weights[:-1], stack.weights[-1] / by]
    return dataclasses.replace(
        stack, weights=weights, biases=[*stack.biases[:-1], stack.biases[-1] / by[..., 0]]
    )


@pytest.mark.parametrize("classes", [1, 2, 10])
@pytest.mark.parametrize("outputs", [("softmax",), ("logits",), jacobian.OUTPUTS])
@pytest.mark.filterwarnings("ignore:the network has one logit")
def test_norms_at_a_temperature_are_autograds_of_the_divided_logits(classes, outputs):
    stack = untrained(units=["relu", "hardtanh"], classes=classes)
    x = points()
    temperatures = [0.3, 4.0]
    plain = jacobian.measure_points(stack, x, outputs)
    found = jacobian.measure_points(stack, x, outputs, temperatures=temperatures)
    assert set(found.log10_norm) == {*outputs, "tempered"}
    for k in range(2):
        expected, _ = autograd_norms(cooled(stack, temperatures), k, x, "softmax")
        torch.testing.assert_close(found.norm("tempered")[k], expected, rtol=1e-9, atol=1e-15)
    # what is not divided stays as it is
    assert torch.equal(found.logits, plain.logits)
    for output in outputs:
        torch.testing.assert_close(
            found.log10_norm[output], plain.log10_norm[output], rtol=0, atol=1e-12
        )


def test_saturated_points_at_a_temperature():
    # float32: the softmax norm itself needs the pass in float64, the tempered one does not
    stack = saturated().to(torch.float32)
    x = points(30)
    for temperature in (1.0, 100.0):
        found = jacobian.measure_points(stack, x, temperatures=[temperature])
        divided = jacobian_norm(cooled(stack, [temperature]), x, log10=True)
        torch.testing.assert_close(found.log10_norm["tempered"], divided, rtol=0, atol=1e-5)
        assert (found.log10_norm["softmax"].min() < -50).all()
    one = jacobian.measure_points(stack, x, temperatures=[1.0]).log10_norm
    assert torch.equal(one["tempered"], one["softmax"])


@pytest.mark.parametrize(
    "temperatures", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [math.inf, 1.0]]
)
def test_temperatures_that_are_none_are_refused(temperatures):
    stack = untrained(units=["relu", "hardtanh"])
    with pytest.raises(ValueError, match="temperatures: expected 2 numbers above 0"):
        jacobian.measure_points(stack, points(2), temperatures=temperatures)
