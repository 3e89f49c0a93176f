"""The running action, as its function sees it: what the declaration says of it, its artifacts, and what it left when it
waited."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wit_world.imports import pipewright_plugin_types as types

from . import files
from ._checked import taking
from .failure import Failure

__all__ = ["Action", "ActionType", "Context", "Resumed", "Signal"]

OWNERS = {"Custom": types.Owner.CUSTOM, "AWS": types.Owner.AWS, "ThirdParty": types.Owner.THIRD_PARTY}


@dataclass
class Context:
    """Which run of which action this is."""

    #: The account's number.
    account: str
    region: str
    #: The pipeline's name.
    pipeline: str
    #: The pipeline execution's id.
    execution_id: str
    #: The stage's name.
    stage: str
    #: The action's name in its stage.
    action: str
    action_execution_id: str


@dataclass
class ActionType:
    """What the declaration calls: CodePipeline's `actionTypeId`."""

    #: `Source`, `Build`, `Test`, `Deploy`, `Approval`, `Invoke` or `Rule`
    category: str
    #: `Custom`, `AWS` or `ThirdParty`
    owner: str
    provider: str
    version: str


@dataclass
class Signal:
    """What ended a wait."""

    #: What happened, e.g. `approval`.
    kind: str
    #: At most 64 KiB. An approval's is the JSON `{"status":"Approved|Rejected","summary":"…","by":"…"}`.
    payload: bytes

    def json(self) -> Any:
        """The payload as JSON; a `Failure` where it is none."""
        try:
            return json.loads(self.payload)
        except ValueError as error:
            raise Failure(f"the signal {self.kind} carries what is no JSON: {error}") from None


@dataclass
class Resumed:
    """A call after a wait."""

    #: What the action gave to `Wait(continuation=…)`.
    continuation: Any
    #: None where the time came.
    signal: Signal | None


class Action:
    """One run of one action. Paths are `pathlib.Path`s, on which `open` and everything of `files` works."""

    def __init__(self, request: types.Request, revision: str | None = None, root: Path = Path("/")) -> None:
        own, owner = request.action_type, {value: name for name, value in OWNERS.items()}
        #: Which pipeline, execution, stage and action this is.
        self.context = Context(**vars(request.context))
        #: What the declaration calls.
        self.action_type = ActionType(own.category.name.capitalize(), owner[own.owner], own.provider, own.version)
        #: The same for every attempt at this action execution: give it to outside systems, so that a second attempt does
        #: nothing twice.
        self.idempotency_key = request.idempotency_key
        #: 1 at first; more when the host died while the action ran, and runs it again.
        self.attempt = request.attempt
        #: The revision that a source is to fetch; None for the newest one.
        self.revision = revision
        #: The declaration's `commands`.
        self.commands = request.commands
        #: The declaration's `environmentVariables`, by name.
        self.environment = {variable.name: variable.value for variable in request.environment}
        #: The variables that the declaration wants from this action; empty where it does not say.
        self.output_variables = request.output_variables
        #: The folders of the input artifacts by name, in the declaration's order. They are read-only.
        self.inputs = {name: root / "inputs" / name for name in request.inputs}
        #: The folders of the output artifacts to make by name, in the declaration's order. They are empty at the start.
        self.outputs = {output.name: root / "outputs" / output.name for output in request.outputs}
        #: For each output artifact the declaration's file patterns; empty where it has none.
        self.output_files = {output.name: output.files for output in request.outputs}
        #: A private folder, empty at the start and gone after the call.
        self.scratch = root / "scratch"
        self._directories = root / "directories"
        self._resumption = request.resumed

    @property
    def input(self) -> Path:
        """The folder of the first input artifact. A *configuration* failure where the declaration has none."""
        for path in self.inputs.values():
            return path
        raise Failure.configuration("the action has no input artifact; add one to its `inputArtifacts`")

    @property
    def output(self) -> Path:
        """The folder of the first output artifact. A *configuration* failure where the declaration has none."""
        for path in self.outputs.values():
            return path
        raise Failure.configuration("the action has no output artifact; add one to its `outputArtifacts`")

    @taking
    def directory(self, name: str) -> Path:
        """A folder of the host that the operator granted under this name, which often comes from a setting. A *permission*
        failure where none is granted, and a *configuration* failure for what is no name."""
        if name in ("", ".", "..") or any(letter in name for letter in "/\\\0"):
            raise Failure.configuration(
                f"`{name}` is not the name of a granted directory: give the name under which the grant lists it, not a "
                "path"
            )
        path = self._directories / name
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
