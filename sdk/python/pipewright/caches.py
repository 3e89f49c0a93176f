"""Directories that are kept for later executions, under keys: what a build would fetch or make again. A plugin asks for them with
`ask("caches", reason=…)`. What is kept may be gone the next time.

    @build("Index", inputs=1, outputs=1)
    def index(action: Action) -> Report:
        key = files.digest(action.input / "words.txt")
        if caches.restore(key, "index") is None:
            files.write(action.scratch / "index/words", "made")
            caches.save(key, "index")
        files.copy(action.scratch / "index", action.output)
        return Report("indexed")
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wit_world.imports import caches as host

from ._checked import taking
from .failure import from_host

__all__ = ["Found", "is_granted", "restore", "save"]


@dataclass
class Found:
    """What `restore` laid out."""

    #: The key that was asked for, or one that begins with a fallback.
    key: str
    #: The SHA-256 of the manifest of its files, in hexadecimal.
    digest: str


def is_granted() -> bool:
    """Whether it is granted: for whoever goes on without."""
    return host.is_granted()


@taking
def restore(key: str, directory: str, *, fallback_keys: Iterable[str] = ()) -> Found | None:
    """Lays what is kept under the key into a directory below the scratch (`cache`, not `/scratch/cache`), which is made. Without
    it: of what is kept under keys that begin with the first fallback that any begins with, what was used last. None where there
    is nothing.

    A `Failure`: *permission*, where it is not granted; *configuration*, where the key or the directory is none; *job failed*, where
    what is kept cannot be laid out."""
    with from_host():
        found = host.restore(key, [*fallback_keys], directory)
    return None if found is None else Found(found.key, found.digest)


@taking
def save(key: str, directory: str) -> None:
    """Keeps a directory below the scratch under the key, in the place of what was kept under it, once the action has succeeded
    with this call.

    A `Failure`: *permission*, where it is not granted; *configuration*, where the key or the directory is none."""
    with from_host():
        host.save(key, directory)
