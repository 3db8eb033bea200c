"""The files of a published data set: found, unpacked or downloaded, and verified.

They lie in torchvision's layout; a file counts as what it should be by its checksum alone, whoever
put it there.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import http.client
import math
import os
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensigap.datasets.places import ENVIRONMENT, DatasetError, Root

#: seconds without an answer after which a server counts as out of reach
_TIMEOUT = 30.0
#: seconds to wait before a download that failed is tried again, for faults that may go away
_PAUSES = (1.0, 5.0)
#: as torchvision calls itself: the servers are known to answer it
_AGENT = {"User-Agent": "pytorch/vision"}
#: bytes read at a time
_CHUNK = 1 << 20
#: what a file starts with that is compressed
_GZIP = b"\x1f\x8b"
_REMEDY = (
    "Delete {them} there and run again to download {them}, or copy the published {files} from "
    "elsewhere."
)


@dataclasses.dataclass(frozen=True)
class Published:
    """What torchvision knows of a data set's files.

    Attributes:
        name: a key of `KNOWN`.
        source: class in `torchvision.datasets`.
    """

    name: str
    source: Any

    @property
    def idx(self) -> bool:
        """Whether the files are MNIST's kind, the others being CIFAR's."""
        return hasattr(self.source, "resources")

    @property
    def files(self) -> dict[str, str]:
        """File, relative to the folder -> its MD5; '' where torchvision knows none."""
        if self.idx:
            return {file: "" for _, members in self.archives.values() for file in members}
        sums = [*self.source.train_list, *self.source.test_list]
        meta = self.source.meta
        sums.append([meta["filename"], meta["md5"]])
        return {f"{self.source.base_folder}/{file}": md5 for file, md5 in sums}

    @property
    def archives(self) -> dict[str, tuple[str, list[str]]]:
        """Archive, relative to the folder -> its MD5 and the files in it."""
        if self.idx:
            raw = f"{self.source.__name__}/raw"
            return {
                f"{raw}/{archive}": (md5, [f"{raw}/{archive.removesuffix('.gz')}"])
                for archive, md5 in self.source.resources
            }
        return {self.source.filename: (self.source.tgz_md5, list(self.files))}

    def addresses(self, archive: str) -> list[str]:
        """Where an archive can be downloaded, the first choice first."""
        if self.idx:
            return [f"{mirror}{Path(archive).name}" for mirror in self.source.mirrors]
        return [self.source.url]


@contextlib.contextmanager
def complete(data: Published, folder: Root, scratch: Path) -> Iterator[Path]:
    """A folder that holds all files of a data set, for as long as the context lasts.

    Files that are not there are unpacked from a published archive that is, or downloaded: into the
    folder, or, where that cannot be written, into `scratch`. There they are removed again: the
    store of the data set keeps what was read.

    Args:
        data: the data set.
        folder: where its files are looked for.
        scratch: a folder that can be written.

    Raises:
        DatasetError: files are missing and can be neither unpacked nor downloaded, or something
            else lies in their place.
    """
    absent = _absent(data, folder)
    if not absent:
        yield folder.path
        return
    new = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    writable = _writable(folder.path, absent)
    place = folder.path if writable else scratch
    temporary = place / f".{data.name}.{os.getpid()}.part"
    try:
        _fill(data, folder, absent, temporary, keep=writable)
        yield folder.path if writable else temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            for path in new:
                path.rmdir()  # only if nothing came into it


def _fill(data: Published, folder: Root, absent: list[str], temporary: Path, *, keep: bool) -> None:
    """Puts absent files into a temporary folder first, so that a cut download leaves nothing.

    Args:
        data: the data set.
        folder: where its files are looked for.
        absent: those that are not there.
        temporary: a folder to be made.
        keep: whether they are then moved into the folder; else the other files join them.
    """
    remarks: list[str] = []
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        unpacked = _unpack(data, folder, absent, temporary, remarks)
        _download(data, set(absent) - unpacked, temporary)
        for file in absent if keep else ():
            (folder.path / file).parent.mkdir(parents=True, exist_ok=True)
            (temporary / file).replace(folder.path / file)
        for file in () if keep else set(data.files) - set(absent):
            (temporary / file).unlink(missing_ok=True)
            (temporary / file).parent.mkdir(parents=True, exist_ok=True)
            _link((folder.path / file).resolve(), temporary / file)
    except DatasetError:
        raise
    except Exception as error:  # whatever servers, archives and the disk come up with
        count = "1 file is" if len(absent) == 1 else f"{len(absent)} files are"
        lines = [
            f"{data.name}: {count} missing and could not be downloaded.",
            f"  missing: {', '.join(absent)}",
            f"  looked for in: {folder.path.resolve()} (from {folder.named_by})",
            *(f"  archive: {remark}" for remark in remarks),
            f"  download: {' '.join(str(error).split()) or type(error).__name__}",
            "Copy the files there, in these subfolders (torchvision's layout, unpacked or the "
            f"published archives); or set data_root in the configuration or ${ENVIRONMENT} to a "
            "folder that has them; or run once with a network, later where a server fails.",
        ]
        raise DatasetError("\n".join(lines)) from error


def _absent(data: Published, folder: Root) -> list[str]:
    """The files that are not there; something else in a file's place is told."""
    if _state(folder.path) not in ("a folder", ""):
        raise DatasetError(
            f"{data.name}: {folder.path.resolve()} (from {folder.named_by}) is "
            f"{_state(folder.path)}: expected the folder of the data sets. Correct "
            f"{folder.named_by.split(',')[0]}."
        )
    absent, wrong = [], []
    for file in data.files:
        found = _state(folder.path / file)
        if found == "":
            absent.append(file)
        elif found != "a file":
            wrong.append(f"{file} is {found}")
    if wrong:
        raise DatasetError(
            f"{data.name}: in {folder.path.resolve()} (from {folder.named_by}) {'; '.join(wrong)}: "
            "expected the published files. Take away what is there and run again to download them, "
            "or copy them from elsewhere."
        )
    return absent


def _state(path: Path) -> str:
    """What lies at a path: 'a file' that can be read, '' for nothing, or else in words."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            return f"a link to {path.readlink()}, where nothing is"
        return (
            "below a file, where a folder is due" if isinstance(error, NotADirectoryError) else ""
        )
    except (OSError, ValueError) as error:
        return f"out of reach ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return "a folder"
    if not stat.S_ISREG(mode):
        return "a device or a pipe"
    return "a file" if os.access(path, os.R_OK) else "a file that this user may not read"


def _writable(folder: Path, files: list[str]) -> bool:
    """Whether files can be made in a folder, which need not be there yet."""
    for path in {folder, *((folder / file).parent for file in files)}:
        there = path
        while not there.exists() and there != there.parent:
            there = there.parent
        if not os.access(there, os.W_OK):
            return False
    return True


def _link(target: Path, path: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:  # a file system without links
        shutil.copyfile(target, path)


# --- archives -------------------------------------------------------------------------------------


def _unpack(
    data: Published, folder: Root, absent: list[str], target: Path, remarks: list[str]
) -> set[str]:
    """Unpacks published archives that lie in the folder.

    Args:
        data: the data set.
        folder: where its files are looked for.
        absent: the files wanted.
        target: where they come.
        remarks: gets a line for each archive that is there and cannot be used.

    Returns:
        The files unpacked.
    """
    done: set[str] = set()
    for archive, (md5, members) in data.archives.items():
        path = folder.path / archive
        found = _state(path)
        if not set(members) & set(absent) or found == "":
            continue
        if found != "a file":
            remarks.append(f"{archive} is {found}")
            continue
        try:
            if (actual := checksum(path)) != md5:
                remarks.append(f"{archive} is damaged: expected MD5 {md5}, found {actual}")
                continue
            _extract_all(path, members, target)
        except (OSError, EOFError, KeyError, zlib.error, tarfile.TarError) as error:
            remarks.append(f"{archive} cannot be unpacked: {error}")
            continue
        done.update(members)
    return done


def _extract_all(archive: Path, members: list[str], target: Path) -> None:
    """Files of an archive, which is the one file itself compressed, or a tar archive."""
    for member in members:
        (target / member).parent.mkdir(parents=True, exist_ok=True)
        _extract(archive, member, target / member)


def _extract(archive: Path, member: str, target: Path) -> None:
    """One file of an archive."""
    with contextlib.ExitStack() as stack:
        if archive.name.endswith(".tar.gz"):
            tar = stack.enter_context(tarfile.open(archive))
            opened = tar.extractfile(member)
            if opened is None:
                raise tarfile.ReadError(f"{member} is no file in it")
            content: Any = stack.enter_context(opened)
        else:
            content = stack.enter_context(gzip.open(archive))
        with target.open("wb") as file:
            shutil.copyfileobj(content, file)


# --- downloads ------------------------------------------------------------------------------------


def _download(data: Published, wanted: set[str], target: Path) -> None:
    """Downloads the archives that hold wanted files, and unpacks them.

    Raises:
        OSError: an archive can be had from none of its addresses; says of each why.
    """
    for archive, (md5, members) in data.archives.items():
        if wanted.isdisjoint(members):
            continue
        path = target / archive
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(data.addresses(archive), md5, path)
        _extract_all(path, members, target)
        path.unlink()


def _fetch(addresses: list[str], md5: str, target: Path) -> None:
    """Downloads a file from the first address that gives it.

    Addresses whose faults may go away are tried again, after a pause and from the start.

    Raises:
        OSError: no address gives it.
    """
    faults: dict[str, str] = {}
    attempts = dict.fromkeys(addresses, 0)
    again = addresses
    for pause in (*_PAUSES, None):
        addresses, again = again, []
        for address in addresses:
            attempts[address] += 1
            try:
                _get(address, md5, target)
                return
            except (OSError, http.client.HTTPException) as error:
                faults[address] = _why(error)
                if _may_pass(error):
                    again.append(address)
        if not again or pause is None:
            break
        time.sleep(pause)
    told = []
    for address, fault in faults.items():
        times = f" (tried {attempts[address]} times)" if attempts[address] > 1 else ""
        told.append(f"{address}: {fault}{times}")
    raise OSError("; ".join(told))


def _get(address: str, md5: str, target: Path) -> None:
    """Downloads a file once.

    Raises:
        OSError, HTTPException: the server does not give it whole, or gives something else.
    """
    request = urllib.request.Request(address, headers=_AGENT)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, target.open("wb") as file:
        expected = answer.length
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
        size = file.tell()
    # a connection that is closed too early ends the reading without an error
    if expected is not None and size < expected:
        raise ConnectionAbortedError(f"cut off after {size:,} of {expected:,} bytes")
    if (found := checksum(target)) != md5:
        raise OSError(f"what the server gives is another file: expected MD5 {md5}, found {found}")


def _may_pass(error: Exception) -> bool:
    """Whether a server that failed may do better when asked again."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    # a refused connection, as without a network, is no reason to wait
    dropped = (ConnectionAbortedError, ConnectionResetError, BrokenPipeError)
    return isinstance(_cause(error), (TimeoutError, *dropped, http.client.HTTPException))


def _why(error: Exception) -> str:
    """A failed download in words."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server answers {error.code} {error.reason}"
    cause = _cause(error)
    if isinstance(cause, TimeoutError):
        return f"no answer within {_TIMEOUT:g} seconds"
    if isinstance(cause, http.client.IncompleteRead):
        return "cut off midway"
    return str(cause) or type(cause).__name__


def _cause(error: Exception) -> Exception:
    """What went wrong, where urllib has put it into an error of its own."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return cause if isinstance(cause, Exception) else error


# --- what the files hold --------------------------------------------------------------------------


def checksum(path: Path) -> str:
    """MD5 of a file, which is what was published."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read_idx(
    data: Published, folder: Root, place: Path, shapes: Mapping[str, tuple[int, ...]]
) -> list[npt.NDArray[np.uint8]]:
    """The arrays of MNIST's kind of files, one a file.

    Args:
        data: the data set.
        folder: where its files were looked for.
        place: where they lie.
        shapes: file -> the shape that its array must have.

    Raises:
        DatasetError: files are not of that kind or shape; the message says of each what it is.
    """
    arrays, faults = [], []
    for file, shape in shapes.items():
        try:
            content = (place / file).read_bytes()
        except OSError as error:
            faults.append(f"{file} cannot be read: {error.strerror or error}")
            continue
        fault = _idx_fault(content, shape)
        if fault:
            faults.append(f"{file} {fault}")
            continue
        pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape))
        arrays.append(pixels.reshape(shape))
    if faults:
        raise damaged(data, folder, faults)
    return arrays


def _idx_fault(content: bytes, shape: tuple[int, ...]) -> str:
    """What is wrong with a file of MNIST's kind; '' where nothing is."""
    head = 4 + 4 * len(shape)
    magic = bytes([0, 0, 8, len(shape)])
    if not content:
        return "is empty"
    if content.startswith(_GZIP):
        return "is still compressed (gzip): expected it unpacked, or with .gz in its name"
    if content[:4] != magic:
        return (
            f"is no such file: expected it to start with {magic.hex()}, found {content[:4].hex()}"
        )
    if len(content) < head:
        return f"is cut short: expected {head} bytes before the values, found {len(content)}"
    found = tuple(int(size) for size in np.frombuffer(content, ">u4", len(shape), offset=4))
    if found != shape:
        wanted, there = ("x".join(map(str, sizes)) for sizes in (shape, found))
        return f"is another file: expected {wanted} values, found {there}"
    values = len(content) - head
    if values != math.prod(shape):
        how = "is cut short" if values < math.prod(shape) else "is too long"
        return f"{how}: expected {math.prod(shape):,} values, found {values:,}"
    return ""


def verify_files(data: Published, folder: Root, place: Path) -> None:
    """Compares the files with the published MD5s, before anything in them is read.

    Args:
        data: the data set.
        folder: where its files were looked for.
        place: where they lie.

    Raises:
        DatasetError: files are not as published; the message names them.
    """
    faults = []
    for file, md5 in data.files.items():
        try:
            found = checksum(place / file)
        except OSError as error:
            faults.append(f"{file} cannot be read: {error.strerror or error}")
            continue
        if found != md5:
            faults.append(f"{file}: expected MD5 {md5}, found {found}")
    if faults:
        raise damaged(data, folder, faults)


def damaged(data: Published, folder: Root, faults: list[str]) -> DatasetError:
    """The error of files that are there, but are not the published ones."""
    named = [file for file in data.files if any(file in fault for fault in faults)]
    them, files = ("it", "file") if len(named) == 1 else ("them", "files")
    return DatasetError(
        f"{data.name}: what lies in {folder.path.resolve()} (from {folder.named_by}) is not as "
        "published:\n  " + "\n  ".join(faults) + "\n" + _REMEDY.format(them=them, files=files)
    )
