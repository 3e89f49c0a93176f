"""What the host does with files better than a plugin can: digests, copies, archives, fast reading and writing, and what
WASI's files do not have: executable bits and checked links.

`open` and `pathlib` work on the same paths. Hashing, packing and copying in the plugin is many times slower than here.

Each call raises a `Failure` that says which path and what is wrong with it: *permission* where no grant allows it (with the
grant that would), and else *job failed*: no such file, a used-up limit, a disk's fault.
"""

import builtins
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from os import PathLike, fspath

from wit_world.imports import artifacts as host

from . import streams
from ._checked import taking
from .failure import Failure, from_host

__all__ = [
    "Copied", "Entry", "FileKind",
    "copy", "digest", "link", "list", "read", "read_text", "set_executable", "sync", "unzip", "write", "zip",
]  # fmt: skip

Path = str | PathLike[str]


class FileKind(Enum):
    """What lies at a path."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


_KINDS = {host.FileKind.FILE: FileKind.FILE, host.FileKind.DIRECTORY: FileKind.DIRECTORY, host.FileKind.LINK: FileKind.LINK}


@dataclass
class Entry:
    """What `list` finds."""

    #: Below the listed folder, separated by `/`.
    path: str
    kind: FileKind
    #: Bytes; 0 for what is no file.
    size: int
    executable: bool
    #: Where a link points.
    target: str | None


@dataclass
class Copied:
    """How much was copied, packed or unpacked."""

    files: int
    bytes: int


@taking
def list(path: Path, except_: Iterable[str] = ()) -> builtins.list[Entry]:
    """Everything below a folder, in the order of the bytes of the path. Leaves out what lies under one of `except_`, paths
    below the listed one, separated by `/`."""
    with from_host():
        found = host.list(fspath(path), [*except_])
    return [Entry(one.path, _KINDS[one.kind], one.size, one.executable, one.target) for one in found]


@taking
def read(path: Path) -> bytes:
    """A whole file."""
    with from_host(), host.read(fspath(path)) as stream:
        return b"".join(streams.chunks(stream))


def read_text(path: Path) -> str:
    """A whole file, which must be UTF-8."""
    try:
        return read(path).decode()
    except UnicodeDecodeError:
        raise Failure(f"{path} is not UTF-8") from None


@taking
def write(path: Path, data: bytes | str, *, executable: bool = False) -> None:
    """Makes or replaces a file, and the folders above it."""
    data = data.encode() if isinstance(data, str) else data
    with from_host(), host.write(fspath(path), executable) as stream:
        streams.write(stream, data)
        streams.flush(stream)


@taking
def digest(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal."""
    with from_host():
        return host.digest(fspath(path))


@taking
def copy(source: Path, destination: Path, except_: Iterable[str] = ()) -> Copied:
    """Copies a file or a whole folder, with executable bits and links; `except_` as in `list`."""
    with from_host():
        return _copied(host.copy(fspath(source), fspath(destination), [*except_]))


@taking
def set_executable(path: Path, executable: bool = True) -> None:
    """Whether a file is a program."""
    with from_host():
        host.set_executable(fspath(path), executable)


@taking
def link(path: Path, target: str) -> None:
    """Makes a symbolic link, or replaces one atomically. The target is relative, and stays inside of the artifact or
    granted folder in which the link lies."""
    with from_host():
        host.link(fspath(path), target)


@taking
def sync(path: Path) -> None:
    """Makes durable what was written below a path: after it, a power cut loses nothing of it."""
    with from_host():
        host.sync(fspath(path))


@taking
def zip(source: Path, destination: Path) -> Copied:
    """Packs a folder into a zip file, reproducibly."""
    with from_host():
        return _copied(host.zip(fspath(source), fspath(destination)))


@taking
def unzip(source: Path, destination: Path) -> Copied:
    """Unpacks a zip file into a folder; refuses entries that would lie outside of it."""
    with from_host():
        return _copied(host.unzip(fspath(source), fspath(destination)))


def _copied(copied: host.Copied) -> Copied:
    return Copied(copied.files, copied.bytes)
