"""What an action's function returns: an outcome for its category, or a wait.

| category | outcome |
|---|---|
| Source | `Fetched`; of `latest`, a `Revision`, or None where there is nothing yet |
| Build, Invoke | `Report` |
| Test | `Tested` |
| Deploy | `Deployed` |
| Approval | `Decision` |
| Rule | `Verdict` |

Each may return a `Wait` instead.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from wit_world.imports import pipewright_plugin_types as types

from .failure import Failure
from .settings import text

__all__ = [
    "Decision", "Deployed", "Fetched", "Link", "Report", "Revision", "Target", "TestCase", "Tested", "Verdict", "Wait",
]  # fmt: skip

# The host refuses larger continuations.
CONTINUATION_BYTES_MAX = 16 * 1024


@dataclass
class Link:
    """Where to see more, shown beside the action."""

    title: str
    url: str


@dataclass
class Report:
    """What a finished build or invocation tells, and what sources, tests and deployments tell besides their own."""

    #: One line for a person; at most 2,048 bytes.
    summary: str | None = None
    #: Output variables by name: texts, numbers, booleans. None leaves one out. Together at most 122,880 bytes.
    variables: Mapping[str, Any] = field(default_factory=dict)
    links: Iterable[Link] = ()
    #: The id that an outside system gave to this run.
    external_id: str | None = None

    def abi(self, _: Any = None) -> types.Report:
        variables = [types.NamedValue(name, text(value)) for name, value in self.variables.items() if value is not None]
        links = [types.Link(link.title, link.url) for link in self.links]
        return types.Report(self.summary, self.external_id, variables, links)


@dataclass
class Revision:
    """One state of what a source watches."""

    #: E.g. a commit's id. A pipeline starts when it differs from the last one.
    id: str
    #: E.g. a commit's first line.
    summary: str | None = None
    #: Where to see it.
    url: str | None = None
    #: Milliseconds since 1970-01-01 UTC.
    created: int | None = None

    def abi(self, outcomes: Any) -> Any:
        return outcomes.Revision(self.id, self.summary, self.url, self.created)


@dataclass
class Fetched:
    """What a source fetched."""

    #: None where what it made has no revision.
    revision: Revision | None
    report: Report = field(default_factory=Report)

    def abi(self, outcomes: Any) -> Any:
        return outcomes.Fetched(self.revision and self.revision.abi(outcomes), self.report.abi())


@dataclass
class TestCase:
    """One thing that a test looked at; made by `passed`, `failed` or `skipped`."""

    # It is no test of pytest's.
    __test__: ClassVar[bool] = False

    name: str
    status: Literal["passed", "failed", "skipped"]
    message: str | None = None
    #: Where to look: a file of the input artifact, and its line from 1 on.
    file: str | None = None
    line: int | None = None

    @classmethod
    def passed(cls, name: str) -> Self:
        """As it should be."""
        return cls(name, "passed")

    @classmethod
    def failed(cls, name: str, message: str, *, file: str | None = None, line: int | None = None) -> Self:
        """Not as it should be: why, and where."""
        return cls(name, "failed", message, file, line)

    @classmethod
    def skipped(cls, name: str, message: str) -> Self:
        """Not looked at: why."""
        return cls(name, "skipped", message)

    def abi(self, outcomes: Any) -> Any:
        if self.file is None and self.line is not None:
            raise TypeError(f"the case {self.name!r} has a `line` without its `file`")
        place = None if self.file is None else outcomes.Place(self.file, self.line)
        return outcomes.TestCase(self.name, outcomes.Status[self.status.upper()], self.message, place)


@dataclass
class Tested:
    """What a test found. One failed case fails the action."""

    # It is no test of pytest's.
    __test__: ClassVar[bool] = False

    #: At most 10,000.
    cases: Iterable[TestCase]
    report: Report = field(default_factory=Report)

    def abi(self, outcomes: Any) -> Any:
        return outcomes.Tested(self.report.abi(), [case.abi(outcomes) for case in self.cases])


@dataclass
class Target:
    """Where a deployment went."""

    #: E.g. a host's name or a bucket's.
    id: str
    #: What it is, e.g. `host` or `bucket`.
    kind: str
    status: Literal["succeeded", "failed", "skipped"] = "succeeded"
    #: Where to see it.
    url: str | None = None

    def abi(self, outcomes: Any) -> Any:
        return outcomes.Target(self.id, self.kind, outcomes.TargetStatus[self.status.upper()], self.url)


@dataclass
class Deployed:
    """What a finished deployment tells."""

    report: Report = field(default_factory=Report)
    targets: Iterable[Target] = ()

    def abi(self, outcomes: Any) -> Any:
        return outcomes.Deployed(self.report.abi(), [target.abi(outcomes) for target in self.targets])


@dataclass(kw_only=True)
class Decision:
    """What an approval came to."""

    #: True lets the pipeline go on; False rejects the action.
    approved: bool
    #: One line for a person: why.
    summary: str | None = None

    def abi(self, outcomes: Any) -> Any:
        return outcomes.Decision(self.approved, self.summary)


@dataclass(kw_only=True)
class Verdict:
    """What a rule found."""

    passed: bool
    #: One line for a person: why not.
    reason: str | None = None

    def abi(self, outcomes: Any) -> Any:
        return outcomes.Verdict(self.passed, self.reason)


@dataclass(kw_only=True)
class Wait:
    """Asks to be called again, after a time or on a signal, whichever comes first; at least one must be given. It costs the
    host nothing; nothing of the plugin survives but the continuation."""

    #: From now on; the plugin needs no clock for it.
    seconds: float | None = None
    #: Milliseconds since 1970-01-01 UTC, instead of `seconds`.
    until: int | None = None
    #: The kind of signal that ends the wait, e.g. `approval`.
    signal: str | None = None
    #: What `Action.resumed` hands back; at most 16 KiB as JSON.
    continuation: Any = None
    #: For a person who looks at the pipeline meanwhile.
    summary: str | None = None
    #: Until the program has ended that `commands.start` started, which makes such waits.
    for_program: bool = False

    def abi(self) -> types.Wait:
        if self.seconds is None and self.until is None and self.signal is None and not self.for_program:
            raise TypeError("Wait(…) needs `seconds`, `until` or `signal`: nothing would ever end it")
        until = self.until
        if self.seconds is not None:
            until = int((time.time() + self.seconds) * 1000)
        try:
            continuation = json.dumps(self.continuation, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"`Wait.continuation` must be what JSON can hold: {error}") from None
        if len(continuation) > CONTINUATION_BYTES_MAX:
            raise Failure(f"the continuation is larger than {CONTINUATION_BYTES_MAX} bytes")
        return types.Wait(until, self.signal, continuation, self.summary)
