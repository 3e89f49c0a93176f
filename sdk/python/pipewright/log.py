"""Log lines and progress of the running action. A message of several lines is as many lines; the host keeps 16 MiB and
200,000 lines of one call, and masks secrets in them."""

from wit_world.imports import log as host

from ._checked import taking

__all__ = ["debug", "error", "info", "progress", "warn"]


def debug(message: object) -> None:
    """For whoever looks for a fault."""
    host.write(host.Level.DEBUG, str(message))


def info(message: object) -> None:
    """What the action does."""
    host.write(host.Level.INFO, str(message))


def warn(message: object) -> None:
    """Something that a person should look at, and that does not fail the action."""
    host.write(host.Level.WARN, str(message))


def error(message: object) -> None:
    """What fails the action."""
    host.write(host.Level.ERROR, str(message))


@taking
def progress(summary: str, percent: float | None = None) -> None:
    """What the action does just now, and how far it is where that is known: 0 to 100."""
    host.progress(None if percent is None else max(0, min(100, round(percent))), summary)
