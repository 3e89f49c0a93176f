"""The interface `artifacts` outside of a component, on folders of this machine below the host's root."""

import builtins
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from componentize_py_types import Err

from . import streams
from ..state import host

# The first time that a zip file can tell, so that packing is reproducible.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass
class Error_NotFound:
    value: str


@dataclass
class Error_Denied:
    value: str


@dataclass
class Error_Quota:
    value: str


@dataclass
class Error_Invalid:
    value: str


@dataclass
class Error_Io:
    value: str


Error = Error_NotFound | Error_Denied | Error_Quota | Error_Invalid | Error_Io


class FileKind(Enum):
    FILE = 0
    DIRECTORY = 1
    LINK = 2


@dataclass
class Entry:
    path: str
    kind: FileKind
    size: int
    executable: bool
    target: str | None


@dataclass
class Copied:
    files: int
    bytes: int


def list(path: str, except_: builtins.list[str]) -> builtins.list[Entry]:
    with _telling(path):
        return [*_below(_real(path), except_)]


def digest(path: str) -> str:
    with _telling(path):
        return hashlib.sha256(_real(path).read_bytes()).hexdigest()


def read(path: str) -> streams.InputStream:
    with _telling(path):
        return streams.InputStream(_real(path).read_bytes())


def write(path: str, executable: bool) -> streams.OutputStream:
    with _telling(path):
        real = _writable(path)
        real.unlink(missing_ok=True)
        real.touch(0o755 if executable else 0o644)

    def take(contents: bytes) -> None:
        with real.open("ab") as file:
            file.write(contents)

    return streams.OutputStream(take)


def set_executable(path: str, executable: bool) -> None:
    with _telling(path):
        _writable(path).chmod(0o755 if executable else 0o644)


def link(path: str, target: str) -> None:
    with _telling(path):
        real = _writable(path)
        real.unlink(missing_ok=True)
        real.symlink_to(target)


def copy(source: str, destination: str, except_: builtins.list[str]) -> Copied:
    with _telling(source):
        begin, end = _real(source), _writable(destination)
        if begin.is_file():
            shutil.copy(begin, end)
            return Copied(1, begin.stat().st_size)
        entries = [*_below(begin, except_)]
        end.mkdir(exist_ok=True)
        for entry in entries:
            to = end / entry.path
            match entry.kind:
                case FileKind.DIRECTORY:
                    to.mkdir(parents=True, exist_ok=True)
                case FileKind.LINK:
                    to.symlink_to(entry.target or "")
                case FileKind.FILE:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(begin / entry.path, to)
        return _copied(entries)


def sync(path: str) -> None:
    with _telling(path):
        _real(path).stat()


def zip(source: str, destination: str) -> Copied:
    with _telling(source):
        begin = _real(source)
        entries = [*_below(begin, [])]
        with zipfile.ZipFile(_writable(destination), "w") as packed:
            for entry in entries:
                name = entry.path + ("/" if entry.kind is FileKind.DIRECTORY else "")
                told = zipfile.ZipInfo(name, ZIP_TIME)
                mode = 0o120777 if entry.kind is FileKind.LINK else 0o100755 if entry.executable else 0o100644
                told.external_attr = (0o040755 if entry.kind is FileKind.DIRECTORY else mode) << 16
                content = (entry.target or "").encode()
                packed.writestr(told, (begin / entry.path).read_bytes() if entry.kind is FileKind.FILE else content)
        return _copied(entries)


def unzip(source: str, destination: str) -> Copied:
    with _telling(source), zipfile.ZipFile(_real(source)) as packed:
        end = _writable(destination)
        for told in packed.infolist():
            to = end / told.filename
            if not to.resolve().is_relative_to(end.resolve()):
                raise Err(Error_Invalid(f"{told.filename} would lie outside"))
            mode = told.external_attr >> 16
            (to if told.is_dir() else to.parent).mkdir(parents=True, exist_ok=True)
            if mode & 0o170000 == 0o120000:
                to.symlink_to(packed.read(told).decode())
            elif not told.is_dir():
                to.write_bytes(packed.read(told))
                to.chmod(0o755 if mode & 0o111 else 0o644)
        return _copied([*_below(end, [])])


def _below(folder: Path, except_: builtins.list[str]) -> Iterator[Entry]:
    if not folder.is_dir():
        raise Err(Error_Invalid(f"{_shown(str(folder))} is no directory"))
    found = []
    for parent, folders, files in os.walk(folder):
        found += [Path(parent, name) for name in folders + files]
    for real in sorted(found, key=lambda real: os.fsencode(real.relative_to(folder).as_posix())):
        path = real.relative_to(folder).as_posix()
        if any(path == left or path.startswith(f"{left}/") for left in except_):
            continue
        told = real.lstat()
        if real.is_symlink():
            yield Entry(path, FileKind.LINK, 0, False, str(real.readlink()))
        elif real.is_dir():
            yield Entry(path, FileKind.DIRECTORY, 0, False, None)
        else:
            yield Entry(path, FileKind.FILE, told.st_size, bool(told.st_mode & 0o111), None)


def _copied(entries: builtins.list[Entry]) -> Copied:
    files = [entry.size for entry in entries if entry.kind is FileKind.FILE]
    return Copied(len(files), sum(files))


def _real(path: str) -> Path:
    """Paths of the plugin's root and those that the fake host gave mean the same."""
    root = host().root
    return Path(path) if Path(path).is_relative_to(root) else root / path.lstrip("/")


def _writable(path: str) -> Path:
    real = _real(path)
    if not real.is_relative_to(host().root) or real.relative_to(host().root).parts[:1] == ("inputs",):
        raise Err(Error_Denied(f"{_shown(path)} cannot be written to"))
    real.parent.mkdir(parents=True, exist_ok=True)
    return real


def _shown(path: str) -> str:
    """The path as the plugin has it in a component."""
    real = Path(path)
    return f"/{real.relative_to(host().root)}" if real.is_relative_to(host().root) else path


@contextmanager
def _telling(path: str) -> Iterator[None]:
    """Makes the WIT's errors of this machine's."""
    try:
        yield
    except FileNotFoundError:
        shown = _shown(path)
        if shown.startswith("/directories/"):
            grant = f"directories.{shown.split('/')[2]}"
            host().denials.append(grant)
            raise Err(Error_Denied(f"no grant allows {shown}; grant it as `{grant}`")) from None
        raise Err(Error_NotFound(f"{shown}: No such file or directory")) from None
    except OSError as error:
        raise Err(Error_Io(f"{_shown(path)}: {error.strerror}")) from None
