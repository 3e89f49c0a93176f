"""Counts files."""

from dataclasses import dataclass

import pipewright
from pipewright import Action, Failure, Report, files, invoke, setting


@dataclass
class Settings:
    most: int | None = setting("How many files there may be at most.")


@invoke("{{provider}}", inputs=1, variables={"Files": "How many files there are."})
def count(action: Action, settings: Settings) -> Report:
    """Counts the files of an artifact."""
    found = sum(entry.kind is files.FileKind.FILE for entry in files.list(action.input))
    if settings.most is not None and found > settings.most:
        raise Failure(f"there are {found} files, more than `Most` allows")
    return Report(f"{found} files", variables={"Files": found})


Plugin, Invoke = pipewright.plugin("{{plugin}}", "0.1.0", [count], documentation="{{description}}")
