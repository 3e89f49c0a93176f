"""The running action, as its function sees it: what the declaration says of it, its artifacts, and what it left when it
waited."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wit_world.imports import pipewright_plugin_types as types

from . import files
from .failure import Failure


@dataclass
class Signal:
    """What ended a wait."""

    #: e.g. `approval`
    kind: str
    #: at most 64 KiB
    payload: bytes

    def json(self) -> Any:
        return json.loads(self.payload)


@dataclass
class Resumed:
    """A call after a wait."""

    #: What the action gave to `Wait(continuation=…)`.
    continuation: Any
    #: None where the time came.
    signal: Signal | None


class Action:
    """One run of one action."""

    #: A private folder, empty at the start and gone after the call.
    scratch = Path("/scratch")

    def __init__(self, request: types.Request) -> None:
        #: Which pipeline, execution, stage and action this is: `account`, `region`, `pipeline`, `execution_id`, `stage`,
        #: `action`, `action_execution_id`.
        self.context = request.context
        #: `category`, `owner`, `provider`, `version`.
        self.action_type = request.action_type
        #: The same for every attempt at this action execution: give it to outside systems, so that a second attempt does
        #: nothing twice.
        self.idempotency_key = request.idempotency_key
        #: 1 at first; more when the host died while the action ran, and runs it again.
        self.attempt = request.attempt
        #: The declaration's `commands`.
        self.commands = request.commands
        #: The declaration's `environmentVariables`.
        self.environment = {variable.name: variable.value for variable in request.environment}
        #: The variables that the declaration wants from this action; empty where it does not say.
        self.output_variables = request.output_variables
        #: The folders of the input artifacts by name, in the declaration's order.
        self.inputs = {name: Path("/inputs", name) for name in request.inputs}
        #: The folders of the output artifacts to make by name, in the declaration's order.
        self.outputs = {output.name: Path("/outputs", output.name) for output in request.outputs}
        #: For each output artifact the declaration's file patterns; empty where it has none.
        self.output_files = {output.name: output.files for output in request.outputs}
        self._resumption = request.resumed

    @property
    def input(self) -> Path:
        """The folder of the first input artifact."""
        for path in self.inputs.values():
            return path
        raise Failure.configuration("the action has no input artifact; add one to its `inputArtifacts`")

    @property
    def output(self) -> Path:
        """The folder of the first output artifact."""
        for path in self.outputs.values():
            return path
        raise Failure.configuration("the action has no output artifact; add one to its `outputArtifacts`")

    def directory(self, name: str) -> Path:
        """A folder of the host that the operator granted under this name, which often comes from a setting."""
        if name in ("", ".", "..") or any(letter in name for letter in "/\\\0"):
            raise Failure.configuration(
                f"`{name}` is not the name of a granted directory: give the name under which the grant lists it, not a "
                "path"
            )
        path = Path("/directories", name)
        if not path.exists():
            files.digest(path)  # Only the host's own call names the missing grant.
        return path

    @cached_property
    def resumed(self) -> Resumed | None:
        """What the action left when it answered *waiting*, and why it is called again; None on the first call."""
        if self._resumption is None:
            return None
        try:
            continuation = json.loads(self._resumption.continuation)
        except ValueError as error:
            raise Failure(f"the continuation of an earlier version is not understood: {error}") from None
        wake = self._resumption.wake
        signal = Signal(wake.value.kind, wake.value.payload) if isinstance(wake, types.Wake_Signal) else None
        return Resumed(continuation, signal)
