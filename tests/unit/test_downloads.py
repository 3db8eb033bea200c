"""Downloads from a server on this machine that answers well, wrongly, by halves or never.

That a download is kept, and how its store reads, is in test_datasets_torchvision.py.
"""

import http.server
import socket
import struct
import threading
import types
from pathlib import PurePosixPath

import pytest

from dataset_helpers import assert_equal, md5, publish
from sensigap.datasets import DatasetError, published, sources
from sensigap.datasets.known import KNOWN

NAMES = [name for name in KNOWN if name != "digits"]


class Server(http.server.ThreadingHTTPServer):
    """A web server whose replies are chosen.

    Attributes:
        files: file name -> bytes.
        first: replies to the next connections, in the order in which they are made.
        then: start of a path -> the reply to all others; `whole` where none fits.
        asked: the paths asked for.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.first, self.then, self.asked = {}, [], {}, []
        self.chosen, self.reset = {}, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def get_request(self):
        connection, client = super().get_request()
        self.chosen[client] = self.first.pop(0) if self.first else None
        return connection, client

    def shutdown_request(self, request):
        if request in self.reset:
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """A client that goes away is no fault of the server."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the reply that its server has chosen."""

    timeout = 20

    def do_GET(self):
        self.server.asked.append(self.path)
        then = [reply for start, reply in self.server.then.items() if self.path.startswith(start)]
        reply = self.server.chosen.pop(self.client_address) or (*then, whole)[0]
        reply(self, self.server.files[PurePosixPath(self.path).name])

    def log_message(self, *args):
        pass

    def head(self, **headers):
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def await_the_client(self):
        """Returns when the client has gone."""
        self.rfile.read(1)


# --- replies --------------------------------------------------------------------------------------


def whole(handler, data):
    handler.head(Content_Length=len(data))
    handler.wfile.write(data)


def without_length(handler, data):
    handler.head()
    handler.wfile.write(data)


def other(handler, data):
    """Other bytes, as many."""
    whole(handler, bytes(len(data)))


def page(handler, data):
    """What networks send that want a log-in first."""
    whole(handler, b"<!DOCTYPE html><html>Please log in</html>")


def empty(handler, data):
    whole(handler, b"")


def short(handler, data):
    """An archive that is cut on the server itself."""
    whole(handler, data[: len(data) // 2])


def cut(handler, data):
    """Fewer bytes than were promised."""
    handler.head(Content_Length=len(data))
    handler.wfile.write(data[: len(data) // 2])


def cut_in_a_chunk(handler, data):
    handler.protocol_version = "HTTP/1.1"
    handler.head(Transfer_Encoding="chunked", Connection="close")
    handler.wfile.write(b"%x\r\n" % len(data) + data[: len(data) // 2])


def reset(handler, data):
    """The connection breaks midway."""
    cut(handler, data)
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.server.reset.append(handler.connection)


def silent(handler, data):
    """The connection is closed before an answer."""


def hang(handler, data):
    handler.await_the_client()


def hang_midway(handler, data):
    cut(handler, data)
    handler.await_the_client()


def missing(handler, data):
    handler.send_error(404)


def forbidden(handler, data):
    handler.send_error(403)


def overloaded(handler, data):
    handler.send_error(503)


def moved(handler, data):
    """A redirect, once."""
    if handler.path.startswith("/moved/"):
        whole(handler, data)
    else:
        redirect(handler, f"/moved{handler.path}")


def moved_to_itself(handler, data):
    redirect(handler, handler.path)


def redirect(handler, to):
    handler.send_response(302)
    handler.send_header("Location", to)
    handler.end_headers()


#: faults that may go away -> how they are told
PASSING = {
    cut: "cut off after {half:,} of {size:,} bytes",
    cut_in_a_chunk: "cut off midway",
    reset: "Connection reset by peer",
    silent: "Remote end closed connection without response",
    hang: "no answer within 0.1 seconds",
    hang_midway: "no answer within 0.1 seconds",
    overloaded: "the server answers 503 Service Unavailable",
}
#: faults that stay
LASTING = {
    other: "another file: expected MD5 {md5}, found {other}",
    page: "another file: expected MD5 {md5}, found ",
    empty: "another file: expected MD5 {md5}, found d41d8cd98f00b204e9800998ecf8427e",
    short: "another file: expected MD5 {md5}, found {short}",
    missing: "the server answers 404 Not Found",
    forbidden: "the server answers 403 Forbidden",
    moved_to_itself: "the server answers 302 The HTTP server returned a redirect error",
}


# --- a data set that the server has ---------------------------------------------------------------


class Remote:
    """A small data set that a server has, and a data folder that is not there yet."""

    def __init__(self, name, server, folder, monkeypatch):
        self.name, self.server, self.monkeypatch = name, server, monkeypatch
        self.source, self.images, self.archives = publish(monkeypatch, name)
        self.root, self.scratch = folder / "root", folder / "scratch"
        server.files.update(self.archives)
        if hasattr(self.source, "mirrors"):
            self.kept = {f"{self.source.__name__}/raw/{file[:-3]}" for file in self.archives}
            self.mirrors(server.address)
        else:
            members = [*self.source.train_list, *self.source.test_list]
            files = [file for file, _ in members] + [self.source.meta["filename"]]
            self.kept = {f"{self.source.base_folder}/{file}" for file in files}
            monkeypatch.setattr(self.source, "url", server.address + self.source.filename)

    def mirrors(self, *addresses):
        self.monkeypatch.setattr(self.source, "mirrors", list(addresses))

    def limit(self, seconds, attempts=None):
        """Sets the time limit, that of later attempts being no matter of the test."""
        self.monkeypatch.setattr(published, "_TIMEOUT", seconds)
        get, left = published._get, attempts

        def counted(*args):
            nonlocal left
            try:
                get(*args)
            finally:
                left = None if left is None else left - 1
                if left == 0:
                    self.monkeypatch.setattr(published, "_TIMEOUT", 30.0)

        self.monkeypatch.setattr(published, "_get", counted)

    def read(self):
        return sources.read(self.name, self.root, self.scratch)[0]

    def read_whole(self):
        """The images are right, and the folder holds the published files and nothing else."""
        assert_equal(self.read(), self.images)
        found = {path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()}
        assert {path.as_posix() for path in found} == self.kept
        assert len(list(self.root.iterdir())) == 1
        assert not self.scratch.exists()

    def refused(self):
        """The message of a download that fails and leaves nothing behind."""
        with pytest.raises(DatasetError) as error:
            self.read()
        assert not self.root.exists()
        assert not self.scratch.exists() or not list(self.scratch.iterdir())
        return str(error.value)


@pytest.fixture
def server():
    with Server() as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        yield web
        web.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """The pauses before further attempts, which are not made."""
    monkeypatch.delenv(sources.ENVIRONMENT, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    pauses = []
    monkeypatch.setattr(published, "time", types.SimpleNamespace(sleep=pauses.append))
    return pauses


@pytest.fixture
def remote(name, server, monkeypatch, tmp_path):
    return Remote(name, server, tmp_path, monkeypatch)


def each(replies):
    return pytest.mark.parametrize("reply", replies, ids=lambda reply: reply.__name__)


all_sets = pytest.mark.parametrize("name", NAMES)
mnist = pytest.mark.parametrize("name", ["mnist"])


# --- one server -----------------------------------------------------------------------------------


@all_sets
@each([*PASSING, *LASTING])
def test_a_failed_download_is_one_message_and_leaves_nothing(reply, remote, waited):
    server = remote.server
    server.then["/"] = reply
    if reply in (hang, hang_midway):
        remote.limit(0.1)
    told = remote.refused().splitlines()

    archive, data = next(iter(remote.archives.items()))
    why = {**PASSING, **LASTING}[reply].format(
        size=len(data),
        half=len(data) // 2,
        md5=md5(data),
        other=md5(bytes(len(data))),
        short=md5(data[: len(data) // 2]),
    )
    count = len(remote.kept)
    assert told[0] == f"{remote.name}: {count} files are missing and could not be downloaded."
    assert all(file in told[1] for file in remote.kept)
    assert told[2] == f"  looked for in: {remote.root} (from data_root)"
    assert told[3].startswith(f"  download: {server.address}{archive}: ")
    assert why in told[3]
    assert "run once with a network, later where a server fails" in told[4]
    assert len(told) == 5
    # what may go away is tried again, with pauses; what stays is not
    assert told[3].endswith(" (tried 3 times)") == (reply in PASSING)
    assert waited == ([1, 5] if reply in PASSING else [])

    # the next run, when the server has been mended
    server.then.clear()
    remote.limit(30)
    remote.read_whole()


@all_sets
@each(PASSING)
def test_a_dropped_download_starts_again_by_itself(reply, remote, waited):
    remote.server.first = [reply]
    if reply in (hang, hang_midway):
        remote.limit(0.1, attempts=1)
    remote.read_whole()
    assert waited == [1]


@mnist
def test_a_download_may_fail_twice_in_different_ways(remote, waited):
    remote.server.first = [cut, overloaded]
    remote.read_whole()
    assert waited == [1, 5]


@mnist
def test_an_attempt_that_finds_a_fault_that_stays_is_the_last(remote, waited):
    remote.server.first = [cut, missing]
    told = remote.refused()
    assert "the server answers 404 Not Found (tried 2 times)" in told
    assert waited == [1]


@mnist
def test_only_the_archive_that_was_dropped_is_asked_for_again(remote):
    remote.server.first = [whole, whole, cut]
    remote.read_whole()
    first, second, third, fourth = (f"/{file}" for file in remote.archives)
    assert remote.server.asked == [first, second, third, third, fourth]


@mnist
def test_archives_before_the_one_that_fails_leave_nothing_either(remote):
    remote.server.first = [whole, whole, whole, missing]
    assert list(remote.archives)[3] in remote.refused()


@all_sets
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_stopped_while_it_downloads_leaves_nothing(stop, remote, monkeypatch):
    def stopped(seconds):
        raise stop

    monkeypatch.setattr(published.time, "sleep", stopped)
    remote.server.first = [cut]
    with pytest.raises(stop):
        remote.read()
    assert not remote.root.exists()
    remote.read_whole()


@mnist
def test_only_the_archive_of_a_missing_file_is_downloaded(remote):
    remote.read()
    file = remote.root / sorted(remote.kept)[0]
    others = [remote.root / file for file in sorted(remote.kept)[1:]]
    before = [path.stat().st_mtime_ns for path in others]
    file.unlink()
    remote.server.asked.clear()
    remote.read_whole()
    assert remote.server.asked == [f"/{file.name}.gz"]
    assert [path.stat().st_mtime_ns for path in others] == before


@mnist
def test_a_failed_download_leaves_the_other_files(remote):
    remote.read()
    missing_file, *others = (remote.root / file for file in sorted(remote.kept))
    before = {path: path.read_bytes() for path in others}
    missing_file.unlink()
    remote.server.then["/"] = short
    with pytest.raises(DatasetError, match="1 file is missing and could not be"):
        remote.read()
    found = {path: path.read_bytes() for path in remote.root.rglob("*") if path.is_file()}
    assert found == before


@all_sets
@each([cut, missing, other])
def test_a_folder_that_cannot_be_written_is_left_alone(reply, remote, monkeypatch):
    """The files come into a scratch folder, and go again."""
    monkeypatch.setattr(published, "_writable", lambda folder, files: False)
    remote.server.then["/"] = reply
    remote.refused()
    remote.server.then.clear()
    assert_equal(remote.read(), remote.images)
    assert not remote.root.exists()
    assert list(remote.scratch.iterdir()) == []


@all_sets
@each([moved, without_length])
def test_other_ways_to_give_a_file_are_taken(reply, remote, waited):
    remote.server.then["/"] = reply
    remote.read_whole()
    assert waited == []
    assert any(path.startswith("/moved/") for path in remote.server.asked) == (reply is moved)


# --- mirrors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@each([*PASSING, *LASTING])
def test_a_second_mirror_serves_where_the_first_fails(reply, remote, waited):
    server = remote.server
    remote.mirrors(f"{server.address}first/", f"{server.address}second/")
    if reply in (hang, hang_midway):
        # hangs for the first archive, so that one attempt has the short limit
        server.first = [reply]
        remote.limit(0.1, attempts=1)
    else:
        server.then["/first/"] = reply
    remote.read_whole()
    assert waited == []
    file = next(iter(remote.archives))
    assert f"/second/{file}" in server.asked


@mnist
def test_a_second_mirror_serves_where_nobody_listens_at_the_first(remote, waited):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        remote.mirrors(f"http://127.0.0.1:{port}/", remote.server.address)
        remote.read_whole()
        # nor is there a wait where nobody listens at all
        (remote.root / min(remote.kept)).unlink()
        remote.mirrors(f"http://127.0.0.1:{port}/")
        with pytest.raises(DatasetError, match="Connection refused\n"):
            remote.read()
    assert waited == []


@mnist
def test_each_mirror_is_told_and_only_those_that_may_recover_are_tried_again(remote, waited):
    server = remote.server
    gone, broken = f"{server.address}gone/", f"{server.address}broken/"
    remote.mirrors(gone, broken)
    server.then = {"/gone/": missing, "/broken/": silent}
    told = remote.refused()
    file = next(iter(remote.archives))
    assert (
        f"  download: {gone}{file}: the server answers 404 Not Found; {broken}{file}: Remote end "
        "closed connection without response (tried 3 times)\n"
    ) in told
    assert server.asked == [f"/gone/{file}", *[f"/broken/{file}"] * 3]
    assert waited == [1, 5]


@mnist
def test_a_mirror_with_another_file_does_not_hide_one_that_recovers(remote):
    server = remote.server
    remote.mirrors(f"{server.address}other/", f"{server.address}right/")
    server.then["/other/"] = other
    server.first = [other, cut]
    remote.read_whole()
