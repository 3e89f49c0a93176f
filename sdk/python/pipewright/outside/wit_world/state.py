"""Who answers the calls outside of a component."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class State:
    """What a host holds for the plugin that it calls."""

    #: Where the folders `inputs`, `outputs`, `directories` and `scratch` are.
    root: Path
    secrets: dict[str, str] = field(default_factory=dict)
    #: Answers to requests in the words of `[[http]]` of a case; each is given once, in their order.
    http: list[dict[str, Any]] = field(default_factory=list)
    #: The requests that were sent: `request`, `headers`, `body`.
    requests: list[dict[str, Any]] = field(default_factory=list)
    #: Lines of the log, each with its level before it, like `info counted 3 files`.
    log: list[str] = field(default_factory=list)
    #: What was reported of tests and coverage, by name.
    results: dict[str, Any] = field(default_factory=dict)
    #: How many reports there were, and what is left for them.
    reports: int = 0
    report_bytes_left: int = 4 << 20
    #: The `Job` of the program that was started, and the secrets that it is given in files.
    job: Any = None
    secret_files: list[Any] = field(default_factory=list)
    #: How the program ended for which the call is made.
    ended: Any = None
    #: What of the declaration's environment is secret: variables, each with the name of a secret.
    declared_secrets: dict[str, str] = field(default_factory=dict)
    #: What is kept, by key: contents by path; None where caches are not granted. And what is to be kept: directories by key.
    caches: dict[str, dict[str, bytes]] | None = None
    saved_caches: dict[str, str] = field(default_factory=dict)
    #: The statuses that the next tools end with, and the `Tool`s that were run.
    tool_ends: list[int] = field(default_factory=list)
    tools: list[Any] = field(default_factory=list)
    #: What no grant allowed.
    denials: list[str] = field(default_factory=list)


_hosts: list[State] = []


def host() -> State:
    """The host of the call that runs."""
    if not _hosts:
        raise RuntimeError("there is no host here: let `pipewright.testing.Host` run the action")
    return _hosts[-1]


def enter(state: State) -> None:
    """From now on this host answers, until `leave`."""
    _hosts.append(state)


def leave() -> None:
    _hosts.pop()
