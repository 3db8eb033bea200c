"""Files that are written whole, and what is told of those that are not as they were written."""

import errno
import json
import os
import platform
import resource
import shutil
import signal

import pytest

from sensigap import records
from sensigap.files import WriteError, remove_abandoned, written_whole
from sensigap.integrity import DamagedFileError, damaged, is_the_files_fault, quarantine


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("store", [False, True], ids=["a file", "a store"])
@pytest.mark.parametrize("there", ["nothing", "file", "folder", "link", "dead link"])
def test_whatever_has_the_name_gives_way_and_no_link_is_followed(tmp_path, store, there):
    path, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    match there:
        case "file":
            path.write_text("old")
        case "folder":
            path.mkdir()
            (path / "old").touch()
        case "link":
            path.symlink_to(elsewhere)
        case "dead link":
            path.symlink_to("nowhere")
    with written_whole(path) as temporary:
        if store:
            temporary.mkdir()
            (temporary / "part").write_text("new")
        else:
            temporary.write_text("new")
    assert not path.is_symlink()
    assert (path / "part" if store else path).read_text() == "new"
    assert left(elsewhere) == ["kept"]
    assert left(tmp_path) == ["elsewhere", "out"]


def test_a_link_to_a_file_is_replaced_and_what_it_led_to_stays(tmp_path):
    (tmp_path / "other").write_text("of somebody")
    (tmp_path / "out").symlink_to("other")
    with written_whole(tmp_path / "out") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "other").read_text() == "of somebody"
    assert (tmp_path / "out").read_text() == "new"


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")

    def fail():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert left(tmp_path) == ["out"]


def test_a_file_has_the_permissions_of_this_user(tmp_path):
    before = os.umask(0o027)
    try:
        with written_whole(tmp_path / "out") as temporary:
            temporary.touch(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # as safetensors says it
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_clear_error(tmp_path, error):
    def fail():
        with written_whole(tmp_path / "out") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(WriteError, match=r"out cannot be written: No space left.*run again"):
        fail()
    assert left(tmp_path) == []


def test_a_copy_that_finds_a_full_disk_is_one_clear_error(tmp_path):
    # shutil.copytree gathers errors
    error = shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")])
    with (
        pytest.raises(WriteError, match=r"out cannot be written: No space left.*run again"),
        written_whole(tmp_path / "out"),
    ):
        raise error


@pytest.mark.parametrize("name", ["file/out", "file/deep/out", "link/out"])
def test_a_file_where_a_folder_is_due_is_told(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    place = tmp_path / name.partition("/")[0]
    told = rf"{name} cannot be written: {place} is no folder; expected a folder.*take .* away"
    with pytest.raises(WriteError, match=told), written_whole(tmp_path / name):
        pass
    assert left(tmp_path) == ["file", "link"]


def test_a_limit_on_files_is_told_and_nothing_is_left(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with (
            pytest.raises(WriteError, match="File too large"),
            written_whole(tmp_path / "out") as temporary,
        ):
            temporary.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert left(tmp_path) == []


def test_what_dead_processes_left_is_taken_away(tmp_path):
    host, gone = platform.node(), 2**22 + 1
    stays = [
        f".out~{host}~a~{os.getpid()}.tmp",
        ".out~elsewhere~a~1.tmp",
        f".on~{host}~a~{gone}.tmp",
    ]
    goes = [f".out~{host}~b~{gone}.tmp", ".out~elsewhere~b~1.tmp"]
    for name in stays + goes:
        (tmp_path / name).mkdir()
        (tmp_path / name / "out").touch()
    os.utime(tmp_path / goes[1], (1, 1))
    remove_abandoned(tmp_path / "out")
    assert left(tmp_path) == sorted(stays)


def test_two_that_find_the_same_damage_set_it_aside_once(tmp_path):
    path = tmp_path / "store.zarr"
    path.mkdir()
    (tmp_path / "store.zarr.damaged").write_text("an earlier one")
    first, second = (damaged(path, "a chunk is missing", "make it again") for _ in range(2))
    assert str(first) == str(second)
    assert left(tmp_path) == ["store.zarr.damaged"]
    assert quarantine(path).is_dir()


def test_a_process_without_room_for_files_does_not_speak_against_a_file():
    assert not is_the_files_fault(OSError(errno.EMFILE, "Too many open files"))
    assert not is_the_files_fault(MemoryError())
    assert is_the_files_fault(OSError(errno.EIO, "Input/output error"))


# --- records --------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"{name}\n")
    path = tmp_path / "record.json"
    records.write_record(path, [tmp_path / "a.csv", tmp_path / "b.csv"], "abc")
    return path


def test_a_sound_record_says_so(recorded):
    assert records.made_by(recorded) == "abc"
    assert records.files(recorded) == ["a.csv", "b.csv"]
    assert list(records.differences(recorded)) == []
    assert records.fault(recorded) == ""
    records.verify(recorded)


@pytest.mark.parametrize("name", ["../a.csv", "/etc/passwd", "b/../../a.csv", "C:/a.csv"])
def test_a_record_that_names_files_elsewhere_is_refused(recorded, name):
    kept = json.loads(recorded.read_text())
    kept.pop("sha256")
    kept["files"][name] = kept["files"].pop("a.csv")
    recorded.write_text(json.dumps(kept | {"sha256": records._own(kept)}))
    with pytest.raises(records.RecordError, match="not below its folder"):
        records.read(recorded)
    with pytest.raises(DamagedFileError, match=r"record\.json is damaged"):
        records.verify(recorded)


def test_a_record_of_which_anything_changed_is_refused(recorded):
    content = recorded.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 4
        recorded.write_bytes(changed)
        try:
            same = records.read(recorded)
        except records.RecordError:
            continue
        # a blank between two entries, for another
        assert same["made_by"] == "abc"
        assert same["files"] == json.loads(content)["files"]


def test_only_files_that_are_read_count(recorded):
    (recorded.parent / "b.csv").write_text("other")
    records.verify(recorded, [recorded.parent / "a.csv"])
    with pytest.raises(DamagedFileError, match=r"b\.csv is damaged: it has 5 bytes, not 6"):
        records.verify(recorded, [recorded.parent / "b.csv"])
    assert not (recorded.parent / "b.csv").exists()


def test_a_look_reads_what_is_younger_than_the_record_and_no_more(recorded):
    path = recorded.parent / "a.csv"
    before = path.stat()
    path.write_text("A.csv\n")
    assert "its checksum is" in records.fault(recorded)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert records.fault(recorded) == ""
    assert [file for file, _ in records.differences(recorded)] == [path]
