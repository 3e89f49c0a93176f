"""The interface `log` outside of a component."""

from enum import Enum

from ..state import host


class Level(Enum):
    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3


def write(level: Level, message: str) -> None:
    host().log.extend(f"{level.name.lower()} {line}" for line in message.split("\n"))


def progress(percent: int | None, summary: str) -> None:
    host().log.append(f"progress {summary}" if percent is None else f"progress {percent} % {summary}")
