"""Whatever a store is given it gives back, and its checksums are those of what was written."""

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import xarray as xr
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sensigap import survey
from sensigap.declarations.base import Schema, Variable

FLOATS = st.sampled_from([np.float32, np.float64])
#: NaN of other bits: of the other sign, quiet and signalling, with a payload
PAYLOADS = {
    np.float32: np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFC12345], np.uint32),
    np.float64: np.array(
        [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0xFFF8000000012345], np.uint64
    ),
}
#: a store loses a NUL at the end of a text
TEXT = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["\0é", "a\0b", "\n", "é", "😀", '"', "\\", "NaN", ""])
).filter(lambda text: not text.endswith("\0"))


@st.composite
def floats(draw, shape):
    dtype = draw(FLOATS)
    values = draw(npst.arrays(dtype, shape, elements=npst.from_dtype(np.dtype(dtype))))
    odd = PAYLOADS[dtype].view(dtype)
    special = np.concatenate([odd, np.array([-0.0, 0.0, np.inf, -np.inf], dtype)])
    which = draw(npst.arrays(np.int8, shape, elements=st.integers(-4, len(special) - 1)))
    return np.where(which >= 0, special[np.maximum(which, 0)], values)


@st.composite
def datasets(draw):
    shape = draw(st.tuples(st.integers(0, 4), st.integers(0, 3)))
    dims = ("network", "sample")
    names = draw(st.lists(TEXT.filter(bool), min_size=shape[0], max_size=shape[0], unique=True))
    integers = draw(st.sampled_from([np.int64, np.int8, np.uint8]))
    return xr.Dataset(
        {
            "number": (dims, draw(floats(shape))),
            "count": (dims, draw(npst.arrays(integers, shape))),
            "flag": (dims, draw(npst.arrays(bool, shape))),
            "word": (dims, draw(npst.arrays(object, shape, elements=TEXT))),
        },
        {"network": np.array(names, object), "sample": np.arange(shape[1])},
    )


@pytest.fixture(scope="module", autouse=True)
def schema():
    kinds = {"number": "float", "count": "int", "flag": "bool", "word": "str"}
    both = ("network", "sample")
    kept = Schema(
        {
            "network": Variable(("network",), "str", "name"),
            "sample": Variable(("sample",), "int", "index"),
        },
        {name: Variable(both, kind, name) for name, kind in kinds.items()},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(survey.SCHEMAS, "anything", kept)
        yield


@hypothesis.given(dataset=datasets())
@hypothesis.settings(max_examples=25, deadline=None)
def test_a_store_gives_back_what_it_was_given(dataset):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.zarr")
        survey.write(dataset, path, "anything", attributes={"a": 'odd "words"\n\0é'})
        found = survey.load(path, "anything")
        assert found.attrs["a"] == 'odd "words"\n\0é'
        for name, variable in dataset.variables.items():
            back = found[name].variable
            assert back.dims == variable.dims
            if variable.dtype.kind == "O":
                assert back.values.tolist() == variable.values.tolist()
                continue
            assert back.dtype == variable.dtype
            np.testing.assert_array_equal(back.values, variable.values)
            if variable.dtype.kind == "f":
                numbers = ~np.isnan(variable.values)
                np.testing.assert_array_equal(
                    np.signbit(back.values)[numbers], np.signbit(variable.values)[numbers]
                )
        # and once more, from what was read
        survey.write(found, path, "anything")
        again = survey.load(path, "anything")
        assert again.attrs[survey.CHECKSUM] == found.attrs[survey.CHECKSUM]


@pytest.mark.parametrize("dtype", PAYLOADS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 2)])
def test_a_store_of_one_odd_value_passes_its_own_check(tmp_path, dtype, shape):
    for value in [*PAYLOADS[dtype].view(dtype), dtype(-0.0), dtype(np.inf)]:
        dims = ("network", "sample")
        zeros = np.zeros(shape)
        dataset = xr.Dataset(
            {
                "number": (dims, np.full(shape, value)),
                "count": (dims, zeros.astype(int)),
                "flag": (dims, zeros.astype(bool)),
                "word": (dims, np.full(shape, "", object)),
            },
            {"network": [f"n{k}" for k in range(shape[0])], "sample": np.arange(shape[1])},
        )
        survey.write(dataset, tmp_path / "store.zarr", "anything")
        found = survey.load(tmp_path / "store.zarr", "anything")
        np.testing.assert_array_equal(found["number"], dataset["number"])


def test_values_that_differ_have_other_checksums():
    def of(words, numbers=(0.0, 1.0)):
        names = ["a", "b"]
        return survey._checksum(
            xr.Dataset(
                {"word": ("network", np.array(words, object)), "x": ("network", list(numbers))},
                {"network": names},
            )
        )

    assert of(["a\0", "b"]) != of(["a", "\0b"])
    assert of(["a", "b"], (0.0, np.nan)) != of(["a", "b"], (0.0, 0.0))
    assert of(["a", "b"], (-0.0, 1.0)) == of(["a", "b"], (0.0, 1.0))


def test_a_text_that_a_store_would_lose_is_refused(tmp_path):
    word = np.array([["a\0"]], object)
    one = {"number": [[1.0]], "count": [[1]], "flag": [[True]], "word": word}
    dataset = xr.Dataset(
        {name: (("network", "sample"), value) for name, value in one.items()},
        {"network": ["a"], "sample": [0]},
    )
    with pytest.raises(survey.SchemaError, match="'word' has a text that ends in a NUL"):
        survey.write(dataset, tmp_path / "store.zarr", "anything")
    assert not list(tmp_path.iterdir())
