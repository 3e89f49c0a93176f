"""Makes a component of functions: what the plugin says of itself, and the dispatch to the function that serves a request."""

import importlib
import inspect
import traceback
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from componentize_py_types import Err
from wit_world.exports import plugin as abi
from wit_world.imports import pipewright_plugin_types as types

from . import log
from .action import Action
from .answer import Deployed, Report, Wait
from .failure import Failure
from .settings import Declared, declared, read

Count = int | tuple[int, int]

OWNERS = {"Custom": types.Owner.CUSTOM, "AWS": types.Owner.AWS, "ThirdParty": types.Owner.THIRD_PARTY}
CAPABILITIES = {
    "http": abi.Capability_Http,
    "read-directory": abi.Capability_ReadDirectory,
    "write-directory": abi.Capability_WriteDirectory,
    "secret": abi.Capability_Secret,
    "reveal-secret": abi.Capability_RevealSecret,
    "clock": abi.Capability_Clock,
    "randomness": abi.Capability_Randomness,
}


@dataclass
class Definition:
    """A function and what its decorator says of it."""

    function: Callable[..., Any]
    settings: type | None
    declared: list[Declared]
    abi: abi.ActionType

    def run(self, request: types.Request) -> Any:
        action = Action(request)
        if self.settings is None:
            return self.function(action)
        given = {setting.name: setting.value for setting in request.settings}
        return self.function(action, read(self.settings, self.declared, given))


def build(
    provider: str,
    *,
    owner: str = "Custom",
    version: str = "1",
    inputs: Count = 0,
    outputs: Count = 0,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Definition]:
    """Makes a function an action of category Build. It takes an `Action`, and its settings if it has any: a dataclass named
    in the annotation of its second parameter. It returns a `Report`, or a `Wait`. Its docstring is the documentation.

    `inputs` and `outputs` are how many artifacts it takes and makes: a number, or the least and the most. `variables` are the
    names of those it returns, each with what it means.
    """
    return _definition(types.Category.BUILD, provider, owner, version, inputs, outputs, variables)


def deploy(
    provider: str,
    *,
    owner: str = "Custom",
    version: str = "1",
    inputs: Count = 1,
    outputs: Count = 0,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Definition]:
    """Like `build`, for category Deploy: it returns `Deployed`, or a `Wait`."""
    return _definition(types.Category.DEPLOY, provider, owner, version, inputs, outputs, variables)


def ask(capability: str, name: str | None = None, *, reason: str) -> abi.Ask:
    """What the plugin wants the operator to grant, and why.

    `http` (a host, as `name`, `name:port`, or `*` where the action's settings say which), `read-directory`,
    `write-directory`, `secret` and `reveal-secret` (each with its name, or the name of the setting that names it);
    `clock` and `randomness` have no name.
    """
    kind = CAPABILITIES[capability]
    return abi.Ask(kind() if name is None else kind(name), reason)


def plugin(
    name: str,
    version: str,
    actions: Iterable[Definition],
    *,
    documentation: str = "",
    asks: Iterable[abi.Ask] = (),
    may_run_again: bool = True,
) -> list[type]:
    """Makes the plugin's classes: `Plugin`, and one for each category, in the order in which the actions first have it. The
    plugin's module gives them these names:

        Plugin, Build = pipewright.plugin("team/name", "1.0.0", [function])

    With `may_run_again=False` an action that a crash of the host interrupted fails instead of running again.
    """
    actions = list(actions)
    description = abi.Description(
        name=name,
        version=version,
        documentation=inspect.cleandoc(documentation),
        action_types=[action.abi for action in actions],
        asks=list(asks),
        may_run_again=may_run_again,
    )
    classes = [type("Plugin", (), {"describe": lambda _: description})]
    for category in dict.fromkeys(action.abi.id.category for action in actions):
        # By name, for the component has only the interfaces of its own world.
        outcomes = importlib.import_module(f"wit_world.exports.{category.name.lower()}")
        serving = [action for action in actions if action.abi.id.category is category]
        classes.append(type(category.name.capitalize(), (), {"run": _run(serving, outcomes)}))
    return classes


def _definition(
    category: types.Category,
    provider: str,
    owner: str,
    version: str,
    inputs: Count,
    outputs: Count,
    variables: Mapping[str, str] | None,
) -> Callable[[Callable[..., Any]], Definition]:
    def define(function: Callable[..., Any]) -> Definition:
        parameters = list(inspect.signature(function).parameters)
        settings = typing.get_type_hints(function).get(parameters[1]) if len(parameters) > 1 else None
        if len(parameters) > 1 and settings is None:
            raise TypeError(f"the second parameter of `{function.__name__}` needs its settings' class as annotation")
        all_declared = declared(settings)
        action_type = abi.ActionType(
            id=types.TypeId(category, OWNERS[owner], provider, version),
            settings=[one.abi for one in all_declared],
            inputs=_count(inputs),
            outputs=_count(outputs),
            variables=[abi.Variable(name, meaning) for name, meaning in (variables or {}).items()],
            documentation=inspect.getdoc(function) or "",
        )
        return Definition(function, settings, all_declared, action_type)

    return define


def _count(count: Count) -> abi.Count:
    return abi.Count(count, count) if isinstance(count, int) else abi.Count(*count)


def _run(actions: list[Definition], outcomes: Any) -> Callable[[Any, types.Request], Any]:
    """The method that the host calls: finds the action, and makes of what it returns or raises what the ABI wants."""

    def run(_: Any, request: types.Request) -> Any:
        try:
            for action in actions:
                # The category is told by the interface that was called.
                wanted, offered = request.action_type, action.abi.id
                if (wanted.owner, wanted.provider, wanted.version) == (offered.owner, offered.provider, offered.version):
                    return _outcome(action.run(request), outcomes)
            raise Failure.configuration(f"this plugin does not offer {request.action_type}; bind another plugin to it")
        except Failure as failure:
            kind, message = failure.kind, failure.message
        except Exception as error:
            log.error(traceback.format_exc())
            kind = types.FailureKind.PERMISSION_ERROR if isinstance(error, PermissionError) else types.FailureKind.JOB_FAILED
            message = f"{type(error).__name__}: {error}"
        raise Err(types.Failure(kind, message))

    return run


def _outcome(answer: Any, outcomes: Any) -> Any:
    match answer:
        case Wait():
            return outcomes.Outcome_Waiting(answer.abi())
        case Report() if not hasattr(outcomes, "Deployed"):
            return outcomes.Outcome_Done(answer.abi())
        case Deployed() if hasattr(outcomes, "Deployed"):
            targets = [
                outcomes.Target(target.id, target.kind, outcomes.TargetStatus[target.status.upper()], target.url)
                for target in answer.targets
            ]
            return outcomes.Outcome_Done(outcomes.Deployed(answer.report.abi(), targets))
    wanted = "a Deployed" if hasattr(outcomes, "Deployed") else "a Report"
    raise TypeError(f"the action returned {type(answer).__name__}; it must return {wanted} or a Wait")
