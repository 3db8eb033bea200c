import json

import pytest

from sensigap import records


def test_a_record_tells_what_its_files_were_made_from_and_whether_they_are_as_written(tmp_path):
    table, figure = tmp_path / "claims.csv", tmp_path / "figures" / "a.png"
    table.write_text("a,b\n1,2\n")
    figure.parent.mkdir()
    figure.write_bytes(b"png")
    record = tmp_path / "claims.record.json"
    records.write_record(record, [table, figure], "abc", {"python": "3"})
    assert records.made_by(record) == "abc"
    assert json.loads(record.read_text())["python"] == "3"
    assert records.files(record) == ["claims.csv", "figures/a.png"]
    assert list(records.differences(record)) == []
    table.write_text("a,b\n1,3\n")
    figure.unlink()
    found = dict(records.differences(record))
    assert found.keys() == {table, figure}
    assert "checksum" in found[table]
    assert "missing" in found[figure]


def test_a_store_carries_one_inside(tmp_path):
    store = tmp_path / "a.zarr"
    store.mkdir()
    assert records.made_by(store) is None
    (store / ".zattrs").write_text("{}")
    records.write_inside(store, "abc")
    assert records.made_by(store) == "abc"
    assert records.files(records.of(store)) == [".zattrs"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_what_cannot_be_read_carries_nothing(tmp_path, text):
    record = tmp_path / "claims.record.json"
    record.write_text(text)
    assert records.made_by(record) is None
    assert records.files(record) == []
    assert list(records.differences(record))
    assert records.made_by(tmp_path / "nowhere") is None


def test_the_digest_hangs_on_settings_and_code_alone():
    one = records.digest({"a": 1, "b": [1, 2]}, "code")
    assert one == records.digest({"b": [1, 2], "a": 1}, "code")
    assert one != records.digest({"a": 1, "b": [2, 1]}, "code")
    assert one != records.digest({"a": 1, "b": [1, 2]}, "other")
