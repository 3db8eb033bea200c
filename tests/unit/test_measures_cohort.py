import dataclasses
import json

import mpmath
import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.datasets import load_digits

from measure_helpers import polygons, spec
from sensigap import assembly, datasets, networks, seeds, survey, weights
from sensigap.declarations import MEASURES
from sensigap.measures import (
    complexity,
    jacobian_norm,
    partition,
    paths,
    sharpness,
    transitions,
)
from sensigap.measures.cohort import ellipses, jacobian, slices, store
from sensigap.schema import SCHEMAS
from sensigap.weights_header import read_header

JACOBIAN = {"points": 10_000, "training_points": 7, "seed": 0}
POINTS = {"points": 5, "precision": 0.01, "least": 150, "seed": 0}
ELLIPSES = {"count": 2, "angles": 24, "seed": 0}
SLICES = {"margin": 0.25, "seed": 0}
COMPLEXITY = {"points": 30, "draws": 4, "drop": 0.2, "seed": 0}


@pytest.fixture(scope="module")
def images():
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels.astype(np.uint8).reshape(-1, 1, 8, 8)
    return datasets.Images(
        pixels[:120], labels[:120], pixels[120:160], labels[120:160], "digits", tuple("0123456789")
    )


@pytest.fixture
def files(tmp_path, monkeypatch, images):
    """A cohort of three networks on a small data set, two of them fitted, and the paths."""
    monkeypatch.setattr(datasets, "load", lambda store: images)
    specs = [spec(train_size=100, width=8, depth=2, seed=k, subset_seed=k % 2) for k in range(3)]
    stack = networks.initial(specs, 64, 10)
    for tensor in (*stack.weights, *stack.biases):
        tensor.add_(0.1)
    weights.save(tmp_path / "w.safetensors", [(specs, stack)])
    write_training(tmp_path / "t.zarr", specs, ["fitted", "not fitted", "fitted"])
    names = ("w.safetensors", "t.zarr", "images.zarr", "out.zarr")
    return specs, stack, [tmp_path / name for name in names]


def write_training(path, specs, statuses):
    schema = SCHEMAS["training"]
    sizes = {"network": len(specs), "check": 1}
    values = {"float": 0.0, "int": 0, "str": "", "bool": False}

    def filled(variable):
        shape = [sizes[dim] for dim in variable.dims]
        dtype = object if variable.kind == "str" else None
        return variable.dims, np.full(shape, values[variable.kind], dtype=dtype)

    dataset = xr.Dataset(
        {name: filled(v) for name, v in schema.variables.items()},
        {name: filled(v) for name, v in schema.coordinates.items()},
    )
    dataset["network"] = [one.id for one in specs]
    dataset["status"] = ("network", np.array(statuses, dtype=object))
    of = {"weights": read_header(path.with_name("w.safetensors"))["sha256"]}
    survey.write(dataset, path, "training", attributes=of)


def measure(name, arguments, **settings):
    """A measure from file to file, as the workflow calls it."""
    store.write(name, *arguments, settings=settings)


def members(found, specs):
    return [{one.id: k for k, one in enumerate(specs)}[name] for name in found["network"].values]


def test_jacobian_store(files, images):
    specs, stack, arguments = files
    measure("jacobian", arguments, **JACOBIAN)
    found = survey.read(arguments[-1], "jacobian")
    order = members(found, specs)
    # also the one that is not fitted
    assert sorted(order) == [0, 1, 2]
    x = torch.from_numpy(datasets.standardise(images.test_images))
    norms = jacobian_norm(stack, x)[order]
    np.testing.assert_allclose(found["jacobian_norm"], norms, rtol=1e-5)
    np.testing.assert_allclose(found["jacobian_norm_log10"], norms.log10(), atol=1e-5)
    np.testing.assert_allclose(
        found["logit_jacobian_norm"], jacobian_norm(stack, x, "logits")[order], rtol=1e-5
    )
    assert found["jacobian_zero"].values.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(found["label"], images.test_labels)
    z = stack.to(torch.float64).logits(x.double())[order]
    f = torch.softmax(z, 2)
    labels = torch.from_numpy(images.test_labels)
    for k in range(3):
        expected = torch.nn.functional.cross_entropy(z[k], labels, reduction="none")
        np.testing.assert_allclose(found["loss"][k], expected, rtol=1e-9)
        true = z[k].gather(1, labels[:, None])[:, 0]
        others = z[k].clone()
        others[torch.arange(len(labels)), labels] = -torch.inf
        np.testing.assert_allclose(found["margin"][k], true - others.amax(1), rtol=1e-9)
        np.testing.assert_allclose(found["target_probability"][k], (-expected).exp(), rtol=1e-9)
    np.testing.assert_array_equal(found["correct"], z.argmax(2) == labels)
    np.testing.assert_allclose(found["confidence"], f.amax(2), rtol=1e-9)
    np.testing.assert_allclose(found["log_doubt"], (1 - f.amax(2)).log(), rtol=1e-9)
    textbook = (f**2 * (1 - 2 * f + (f**2).sum(2, keepdim=True))).sum(2)
    np.testing.assert_allclose(found["squared_probabilities"], textbook, rtol=1e-9)


def test_sensitivity_at_training_points(files, images, monkeypatch):
    specs, stack, arguments = files
    measure("jacobian", arguments, **JACOBIAN)
    few = survey.load(arguments[-1], "jacobian")
    measure("jacobian", arguments, points=10_000, training_points=1000, seed=0)
    whole = survey.load(arguments[-1], "jacobian")
    for k, order in enumerate(members(whole, specs)):
        subset = datasets.training_subset(images, 100, specs[order].subset_seed)
        x = torch.from_numpy(datasets.standardise(images.train_images[subset]))
        norms = jacobian_norm(stack, x)[order]
        assert float(whole["train_sensitivity"][k]) == pytest.approx(float(norms.mean()), rel=1e-5)
        # a mean of 7 of them: not of all, and within their range
        found = float(few["train_sensitivity"][k])
        assert norms.min() < found < norms.max()
        assert found != pytest.approx(float(norms.mean()), rel=1e-5)


def test_some_of_the_test_points(files, images):
    _, _, arguments = files
    measure("jacobian", arguments, **JACOBIAN)
    whole = survey.load(arguments[-1], "jacobian")
    found = {}
    for points in (20, 30):
        measure("jacobian", arguments, **JACOBIAN | {"points": points})
        found[points] = survey.load(arguments[-1], "jacobian")
        chosen = found[points]["sample"].values
        assert len(chosen) == points
        assert (np.diff(chosen) > 0).all()
        np.testing.assert_array_equal(found[points]["label"], images.test_labels[chosen])
        # what the gap is over: the whole test set, whatever the points
        np.testing.assert_array_equal(found[points]["correct"], whole["correct"])
        for name in ("jacobian_norm", "loss", "prediction"):
            np.testing.assert_allclose(
                found[points][name], whole[name].sel(sample=chosen), rtol=1e-6
            )
    assert {*found[20]["sample"].values} < {*found[30]["sample"].values}
    # those of transitions are the first of the same order
    measure("transitions", arguments, points=20, precision=0.01, least=20, seed=0)
    paths = survey.load(arguments[-1], "transitions")
    np.testing.assert_array_equal(paths["sample"], found[20]["sample"])


def test_test_points_in_parts(files, monkeypatch):
    _, _, arguments = files
    measure("jacobian", arguments, **JACOBIAN)
    whole = survey.load(arguments[-1], "jacobian")
    monkeypatch.setattr(jacobian, "POINT_BYTES", 4 * 64 * 17)
    measure("jacobian", arguments, **JACOBIAN)
    xr.testing.assert_allclose(survey.load(arguments[-1], "jacobian"), whole, rtol=1e-5)


def test_loss_and_squared_probabilities_of_a_saturated_network(files, images):
    specs, stack, arguments = files
    stack.weights[-1] *= 20
    weights.save(arguments[0], [(specs, stack)])
    write_training(arguments[1], specs, ["fitted", "not fitted", "fitted"])
    measure("jacobian", arguments, **JACOBIAN)
    found = survey.read(arguments[-1], "jacobian")
    loss = found["loss"].values
    assert (loss > 0).all()
    assert (loss < 1e-20).any()
    # with e = 1 - f_t small the sum is between e^2, many other classes, and 4 e^2, a single one
    sure = np.isclose(found["target_probability"], 1, atol=1e-10)
    ratio = found["squared_probabilities"].values[sure] / loss[sure] ** 2
    assert (np.nan_to_num(ratio, nan=4.0) > 1.0).all()
    assert (np.nan_to_num(ratio, nan=4.0) < 4.0001).all()


def test_transitions_store(files, images):
    specs, stack, arguments = files
    measure("transitions", arguments, **POINTS)
    found = survey.read(arguments[-1], "transitions")
    samples = found["sample"].values
    assert len(samples) == 5
    assert (np.diff(samples) > 0).all()
    pictures = datasets.standardise(images.test_images[samples]).reshape(-1, 1, 8, 8)
    vertices = torch.from_numpy(paths.translations(pictures.astype(np.float64)))
    expected = transitions(stack, vertices)[members(found, specs)]
    np.testing.assert_array_equal(found["transitions"], expected)
    assert expected.sum() > 0
    measure("transitions", arguments, **POINTS | {"points": 1000})
    everything = survey.read(arguments[-1], "transitions")
    assert everything.sizes["sample"] == 40
    np.testing.assert_array_equal(everything["transitions"].sel(sample=samples), expected)


def test_ellipses_store(files, images):
    specs, _, arguments = files
    measure("ellipses", arguments, share=1, **ELLIPSES)
    found = survey.read(arguments[-1], "ellipses").load()
    assert sorted(members(found, specs)) == [0, 2], "the fitted ones"
    found = found.sel(network=[specs[0].id])
    assert dict(found.sizes) == {"network": 1, "state": 2, "kind": 3, "ellipse": 2, "angle": 24}
    # at pi / 3 the ellipse through one class is at its first anchor, a training point
    made = ellipses._ellipses(images, specs[0], 2, 0)
    point = paths.ellipse_points(made[2:3], np.array([np.pi / 3]))[0, 0]
    subset = datasets.training_subset(images, 100, specs[0].subset_seed)
    training = datasets.standardise(images.train_images[subset])
    assert np.abs(training - point).max(1).min() < 1e-5
    untrained = networks.initial([specs[0]], 64, 10)
    norm = jacobian_norm(untrained, torch.from_numpy(point[None]))
    at = found["jacobian_norm"].isel(network=0, state=0, kind=1, ellipse=0, angle=4)
    assert float(at) == pytest.approx(float(norm), rel=1e-5)
    assert (found["transitions"].sum("angle") % 2 == 0).all(), "closed curves of ReLU networks"
    assert (found["transitions"].sum("angle") > 0).all()
    assert not found["jacobian_norm"].isel(state=0).equals(found["jacobian_norm"].isel(state=1))
    both = survey.read(arguments[-1], "ellipses")["arc_length"].values
    assert not np.isclose(both[0], both[1]).all(axis=-1).any(), "every network has its own ellipses"
    share = sorted(seeds.share(0, "ellipses", spec.id) for spec in (specs[0], specs[2]))
    measure("ellipses", arguments, share=sum(share) / 2, **ELLIPSES)
    alone = survey.read(arguments[-1], "ellipses")
    assert alone.sizes["network"] == 1
    index = 0 if members(alone, specs)[0] == members(found, specs)[0] else 1
    np.testing.assert_array_equal(alone["arc_length"][0], both[index])


def test_complexity_store(files, images):
    specs, stack, arguments = files
    random = dataclasses.replace(specs[2], labels="random")
    specs = [specs[0], specs[1], random]
    weights.save(arguments[0], [(specs, stack)])
    write_training(arguments[1], specs, ["fitted", "not fitted", "fitted"])
    measure("complexity", arguments, **COMPLEXITY)
    found = survey.read(arguments[-1], "complexity").load()
    order = members(found, specs)
    assert sorted(order) == [0, 2]
    assert found.attrs["settings"] == json.dumps(COMPLEXITY)
    start = networks.initial(specs, 64, 10)
    for row, k in enumerate(order):
        one, own = stack.select([k]), specs[k]
        subset = datasets.training_subset(images, 100, own.subset_seed)
        x = torch.from_numpy(datasets.standardise(images.train_images[subset]))
        true = images.train_labels[subset]
        if own.labels == "random":
            labels = seeds.generator(own.seed, "random labels").integers(10, size=100)
            assert (labels != true).any()
        else:
            labels = true
        labels = torch.from_numpy(labels)[None]
        chosen = np.sort(seeds.generator(0, "complexity points").permutation(100)[:30])
        some = x[chosen], labels[:, chosen]
        noise = sharpness.weight_noise(one, 4, 0)
        expected = {
            "frobenius_product_log10": complexity.frobenius_product(one),
            "spectral_product_log10": complexity.spectral_product(one),
            # what the fixture adds to every weight and bias
            "distance": torch.tensor([0.1 * stack.parameters**0.5]),
            "spectral_distance": complexity.spectral_distance(one, start.select([k])),
            "path_norm_log10": complexity.path_norm(one),
            "fisher_rao_log10": complexity.fisher_rao(one, *some),
            "inverse_margin": complexity.inverse_margin(one, x, labels),
            "sharpness": sharpness.sharpness(one, *some, noise, drop=0.2),
            "sharpness_magnitude": sharpness.sharpness(
                one, *some, noise, drop=0.2, magnitude_aware=True
            ),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][row], value[0], rtol=1e-6, err_msg=name)


def test_complexity_does_not_depend_on_the_company(files):
    specs, stack, arguments = files
    measure("complexity", arguments, **COMPLEXITY)
    together = survey.read(arguments[-1], "complexity").load()
    weights.save(arguments[0], [([specs[2]], stack.select([2]))])
    write_training(arguments[1], [specs[2]], ["fitted"])
    measure("complexity", arguments, **COMPLEXITY)
    alone = survey.read(arguments[-1], "complexity").load()
    assert alone["network"].values.tolist() == [specs[2].id]
    xr.testing.assert_equal(alone, together.sel(network=[specs[2].id]))


def test_slices_store(files, images):
    specs, stack, arguments = files
    measure("slices", arguments, networks=[one.id for one in specs], **SLICES)
    found = survey.read(arguments[-1], "slices").load()
    order = members(found, specs)
    assert sorted(order) == [0, 2]
    assert (found["window"] == 1.25 * 8).all()
    radii = np.hypot(found["anchor_x"], found["anchor_y"])
    assert (radii <= 8 + 1e-4).all()
    assert len(set(found["anchor_label"].values[0])) == 3
    # the plane once more, from the images themselves
    spec, k = specs[order[0]], order[0]
    subset = datasets.training_subset(images, spec.train_size, spec.subset_seed)
    chosen = paths.anchors_of(
        "different classes", images.train_labels[subset], seeds.generator(0, "slices")
    )
    frame, _ = paths.plane(datasets.standardise(images.train_images[subset[chosen]]))
    networks_of = {"initial": networks.initial([spec], 64, 10), "trained": stack.select([k])}
    for state, network in networks_of.items():
        one = found.isel(network=0).sel(state=state)
        expected = partition.partition(network, 0, frame, (-10, 10, -10, 10))
        assert one["regions"].item() == len(expected) > 1
        ends = np.stack([one[name].values for name in ("x0", "y0", "x1", "y1")], 1)
        assert ends.dtype == np.float32
        edges = one["edges"].item()
        assert np.isfinite(ends[:edges]).all()
        assert np.isnan(ends[edges:]).all()
        assert np.isnan(ends).all(1).sum() == found.sizes["edge"] - edges
        points = torch.from_numpy(
            frame[0] + np.stack([one["x"][[3, 9]], one["y"][[5, 7]]], 1) @ frame[1:]
        )
        logits = network.to(torch.float64).logits(points)[0]
        assert one["predicted"].values[[5, 7], [3, 9]].tolist() == logits.argmax(1).tolist()
    assert found.sizes["edge"] == found["edges"].max()


def test_cohorts_slices_are_put_together_padded(files, tmp_path):
    specs, _, arguments = files
    parts = []
    for k in (0, 2):
        measure("slices", arguments, networks=[specs[k].id], **SLICES)
        parts.append(survey.read(arguments[-1], "slices").load())
        of = parts[-1].attrs
        survey.write(parts[-1], tmp_path / f"{k}.zarr", "slices", attributes=of)
    assert parts[0].sizes["edge"] != parts[1].sizes["edge"]
    rows = {specs[0].id: {}, specs[2].id: {}}
    weights_of = {tmp_path.name: arguments[0]}
    joined = assembly._join([tmp_path / "0.zarr", tmp_path / "2.zarr"], "slices", rows, weights_of)
    survey.validate(joined, "slices", "joined")
    assert joined["x0"].dtype == np.float32
    for part in parts:
        one = joined.sel(network=part["network"])
        edges = part.sizes["edge"]
        for name in ("x0", "y0", "x1", "y1"):
            np.testing.assert_array_equal(one[name][..., :edges], part[name])
            assert np.isnan(one[name][..., edges:]).all()
        for name in ("edges", "regions", "predicted", "anchor_label", "window"):
            np.testing.assert_array_equal(one[name], part[name])


def test_too_many_regions_leave_a_slice_out_with_a_word(files, monkeypatch, caplog):
    specs, _, arguments = files
    measure("slices", arguments, networks=[one.id for one in specs], **SLICES)
    most = int(survey.read(arguments[-1], "slices")["regions"].max()) - 1
    monkeypatch.setattr(slices, "MOST_REGIONS", most)
    measure("slices", arguments, networks=[one.id for one in specs], **SLICES)
    found = survey.read(arguments[-1], "slices").load()
    left_out = found["regions"].values == -1
    assert 1 <= left_out.sum() < left_out.size
    assert (found["edges"].values[left_out] == 0).all()
    assert np.isnan(found["x0"].values[left_out]).all()
    assert caplog.text.count(f"more than {most} linear regions") == left_out.sum()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("jacobian", JACOBIAN),
        ("transitions", POINTS),
        ("complexity", COMPLEXITY),
        ("ellipses", {"share": 1, **ELLIPSES}),
        ("slices", {"networks": [], **SLICES}),
    ],
)
def test_a_cohort_without_networks_to_measure_gives_an_empty_store(files, name, options):
    specs, _, arguments = files
    unfitted = "diverged" if MEASURES[name].unfitted else "not fitted"
    write_training(arguments[1], specs, [unfitted, "diverged", unfitted])
    measure(name, arguments, **options)
    assert survey.read(arguments[-1], name).sizes["network"] == 0


def jacobian_by_autograd(stack, x):
    """Of the softmax and of the logits, (point, class, d), of a stack of one in float64."""

    def outputs(point):
        z = stack.logits(point[None])[0, 0]
        return torch.softmax(z, 0), z

    J, A = torch.func.vmap(torch.func.jacrev(outputs))(x)
    return J, A


def test_what_a_network_says_without_labels(files, images):
    specs, stack, arguments = files
    measure("jacobian", arguments, **JACOBIAN)
    found = survey.load(arguments[-1], "jacobian")
    x = torch.from_numpy(datasets.standardise(images.test_images)).double()
    for k, place in enumerate(members(found, specs)):
        one = stack.select(slice(place, place + 1)).to(torch.float64)
        z = one.logits(x)[0]
        f = torch.softmax(z, 1)
        of_logits = jacobian_by_autograd(one, x)[1].flatten(1).norm(dim=1).mean()
        ordered = z.sort(dim=1, descending=True).values
        margin = (ordered[:, 0] - ordered[:, 1]).mean()
        for name, expected in {
            "mean_doubt": (1 - f.amax(1)).mean(),
            "low_confidence": (f.amax(1) < 0.9).double().mean(),
            "logit_jacobian_over_margin": of_logits / margin,
            "logit_jacobian_over_scale": of_logits / z.var(dim=1, correction=0).mean().sqrt(),
        }.items():
            assert float(found[name][k]) == pytest.approx(float(expected), rel=1e-5), name
        np.testing.assert_array_equal(found["prediction"][k], z.argmax(1))
        # the last layer by hand, so that the mean of the top two logits' difference is 5
        for tensor in (one.weights[-1], one.biases[-1]):
            tensor.mul_(5 / margin)
        expected = float(jacobian_by_autograd(one, x)[0].flatten(1).norm(dim=1).mean())
        assert float(found["tempered_sensitivity"][k]) == pytest.approx(expected, rel=1e-5)


def measured_with_logits_times(files, scale):
    """The Jacobian store of the cohort, all of it fitted, with its last layer times `scale`."""
    specs, stack, arguments = files
    for tensor in (stack.weights[-1], stack.biases[-1]):
        tensor.mul_(scale)
    weights.save(arguments[0], [(specs, stack)])
    write_training(arguments[1], specs, ["fitted"] * 3)
    measure("jacobian", arguments, **JACOBIAN)
    return survey.load(arguments[-1], "jacobian")


def test_small_doubts_do_not_cancel(files, images):
    specs, stack, _ = files
    inputs = torch.from_numpy(datasets.standardise(images.test_images)).double()
    found = measured_with_logits_times(files, 500)
    # of the surest one 1 - f would have nothing left
    assert (found["mean_doubt"] > 0).all()
    assert float(found["mean_doubt"].min()) < 1e-6
    # right or wrong, with more digits than the probabilities have
    with mpmath.workdps(60):
        for k, place in enumerate(members(found, specs)):
            one = stack.select(slice(place, place + 1)).to(torch.float64)
            for i, z in enumerate(one.logits(inputs)[0].tolist()):
                top = z.index(max(z))
                powers = [mpmath.exp(mpmath.mpf(value) - z[top]) for value in z]
                rest = mpmath.fsum(p for j, p in enumerate(powers) if j != top)
                expected = mpmath.log(rest / (rest + 1))
                assert float(found["log_doubt"][k, i]) == pytest.approx(float(expected), rel=1e-9)
    # nothing but the scale has changed, which the common temperature takes out again
    small = measured_with_logits_times(files, 1 / 500)
    for name in ("tempered_sensitivity", "logit_jacobian_over_margin", "logit_jacobian_over_scale"):
        np.testing.assert_allclose(small[name], found[name], rtol=1e-4)


def test_a_network_whose_logits_tie_has_no_temperature(files):
    found = measured_with_logits_times(files, 0)
    assert np.isnan(found["tempered_sensitivity"]).all()
    assert np.isnan(found["logit_jacobian_over_margin"]).all()
    np.testing.assert_allclose(found["mean_doubt"], 0.9)


def test_the_store_says_where_it_comes_from(files):
    _, _, arguments = files
    measure("transitions", arguments, **POINTS)
    attributes = survey.read(arguments[-1], "transitions").attrs
    assert attributes["measure"] == "transitions"
    assert json.loads(attributes["settings"]) == POINTS
    assert attributes["weights"] == read_header(arguments[0])["sha256"]
    assert "torch" in attributes["versions"]


def test_polygons_of_the_helpers_are_the_studys():
    assert polygons(2).shape == (2, 8, 64)
