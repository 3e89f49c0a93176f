"""Programs of the host's machine, run apart from it: compilers, test runners, scripts. A plugin asks for them with
`ask("commands", reason=…)`.

A program runs while no call of the plugin does. The action lays files into its scratch, says by `start` what is to run, and
returns the `Wait` that it got. Once the program has ended, the action is called again with its continuation and the same
scratch, and `ended` says how.

    @build("Make", inputs=1, outputs=1)
    def make(action: Action) -> Report | Wait:
        ended = commands.ended()
        if ended is None:
            files.copy(action.input, action.scratch / "src")
            return commands.start(["make", "all"], directory="src", environment={"CFLAGS": "-O2"})
        if not ended.succeeded:
            raise Failure(f"make ended with status {ended.status}")
        files.copy(action.scratch / "src/build", action.output)
        return Report("built")
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wit_world.imports import commands as host
from wit_world.imports import pipewright_plugin_types as types

from ._checked import taking
from .answer import Wait
from .failure import from_host

__all__ = ["Ended", "declared_secrets", "ended", "start"]


@dataclass
class Ended:
    """How a program ended."""

    #: What it ended with, or 128 and the number of the signal that ended it.
    status: int
    signal: int | None
    #: The limit that ended it, like `wall-seconds`.
    limit: str | None
    cpu_micros: int
    memory_bytes_max: int
    wall_micros: int
    #: The last lines of its log, at most 16 KiB.
    tail: str

    @property
    def succeeded(self) -> bool:
        """Whether it ended with status 0, and by itself."""
        return self.status == 0 and self.limit is None


@taking
def start(
    arguments: Iterable[str],
    *,
    directory: str = "",
    environment: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    secret_files: Mapping[str, str] | None = None,
    network: bool = False,
    image: str | None = None,
    wall_seconds: int | None = None,
    continuation: Any = None,
    summary: str | None = None,
) -> Wait:
    """Has a program run once this call has returned the wait; one in each call. `arguments` begin with the program, which is
    found by the `PATH` of its environment, and it begins in `directory`, below the scratch.

    `secrets` are environment variables, each with the name of a secret, which the plugin does not see: of one of the host's
    store also `NAME:JSON-KEY:VERSION-STAGE:VERSION-ID`. With `secret_files` the variable has the path of a file with the value,
    which no other program can read, and which is gone when the program has ended. With `network` it may reach the hosts that the
    grant names. `image` is one that the grant allows. `continuation` and `summary` are those of the wait."""
    given = (_pairs(environment), _pairs(secrets))
    job = host.Job([*arguments], directory, *given, network, image, wall_seconds)
    with from_host():
        if secret_files:
            host.start_with_files(job, _pairs(secret_files))
        else:
            host.start(job)
    return Wait(continuation=continuation, summary=summary, for_program=True)


def ended() -> Ended | None:
    """How the program ended for which this call was made; None if the call was made for something else."""
    end = host.ended()
    if end is None:
        return None
    limits = (end.cpu_micros, end.memory_bytes_max, end.wall_micros)
    return Ended(end.status, end.signal, end.limit, *limits, end.tail)


def declared_secrets() -> dict[str, str]:
    """The declaration's `environmentVariables` of the type `SECRETS_MANAGER`, each with what names its secret: for `start`. They
    are not in `Action.environment`."""
    return {one.name: one.value for one in host.declared_secrets()}


def _pairs(values: Mapping[str, str] | None) -> list[types.NamedValue]:
    return [types.NamedValue(name, value) for name, value in (values or {}).items()]
