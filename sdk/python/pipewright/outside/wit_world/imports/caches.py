"""The interface `caches` outside of a component: what a test says is kept, and what is to be kept. The digests are none."""

from dataclasses import dataclass

from componentize_py_types import Err

from ..state import host


@dataclass
class Found:
    key: str
    digest: str


@dataclass
class Error_Denied:
    value: str


@dataclass
class Error_Invalid:
    value: str


@dataclass
class Error_Io:
    value: str


Error = Error_Denied | Error_Invalid | Error_Io


def is_granted() -> bool:
    return host().caches is not None


def restore(key: str, fallback_keys: list[str], directory: str) -> Found | None:
    kept = _kept()
    # Of several the one that the test gives last was used last.
    of = [[it for it in reversed(kept) if it.startswith(prefix)] for prefix in fallback_keys]
    found = key if key in kept else next((keys[0] for keys in of if keys), None)
    if found is None:
        return None
    for path, content in kept[found].items():
        file = host().root / "scratch" / directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Found(found, f"of {found}")


def save(key: str, directory: str) -> None:
    _kept()
    if not directory or not (host().root / "scratch" / directory).is_dir():
        raise Err(Error_Invalid(f"there is no directory {directory!r} below /scratch"))
    host().saved_caches[key] = directory


def _kept() -> dict[str, dict[str, bytes]]:
    kept = host().caches
    if kept is None:
        host().denials.append("caches = true")
        raise Err(Error_Denied("no grant allows caches: give the test `caches`"))
    return kept
