"""What an action's function returns: an outcome for its category, or a wait."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wit_world.imports import pipewright_plugin_types as types
from wit_world.imports.pipewright_plugin_types import Link

from .failure import Failure
from .settings import text

# The host refuses larger continuations.
CONTINUATION_BYTES_MAX = 16 * 1024


@dataclass
class Report:
    """What a finished build tells, and a deployment besides."""

    #: One line for a person.
    summary: str | None = None
    #: Output variables by name: texts, numbers, booleans. None leaves one out.
    variables: Mapping[str, Any] = field(default_factory=dict)
    links: Iterable[Link] = ()
    #: The id that an outside system gave to this run.
    external_id: str | None = None

    def abi(self) -> types.Report:
        variables = [types.NamedValue(name, text(value)) for name, value in self.variables.items() if value is not None]
        return types.Report(self.summary, self.external_id, variables, list(self.links))


@dataclass
class Target:
    """Where a deployment went."""

    id: str
    #: What it is, e.g. `host` or `bucket`.
    kind: str
    status: Literal["succeeded", "failed", "skipped"] = "succeeded"
    url: str | None = None


@dataclass
class Deployed:
    """What a finished deployment tells."""

    report: Report
    targets: Iterable[Target] = ()


@dataclass(kw_only=True)
class Wait:
    """Asks to be called again, after a time or on a signal, whichever comes first. It costs the host nothing; nothing of
    the plugin survives but the continuation."""

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

    def abi(self) -> types.Wait:
        until = self.until
        if self.seconds is not None:
            until = int((time.time() + self.seconds) * 1000)
        continuation = json.dumps(self.continuation).encode()
        if len(continuation) > CONTINUATION_BYTES_MAX:
            raise Failure(f"the continuation is larger than {CONTINUATION_BYTES_MAX} bytes")
        return types.Wait(until, self.signal, continuation, self.summary)
