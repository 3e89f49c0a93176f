"""Makes a component of functions: what the plugin says of itself, and the dispatch to the function that serves a request."""

import importlib
import inspect
import re
import traceback
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from componentize_py_types import Err
from wit_world.exports import plugin as abi
from wit_world.imports import pipewright_plugin_types as types

from . import log
from ._checked import checked, with_article
from .action import OWNERS, Action
from .answer import Decision, Deployed, Fetched, Report, Revision, Tested, Verdict, Wait
from .failure import Failure
from .settings import Declared, declared, read

__all__ = ["Ask", "Count", "approval", "ask", "build", "deploy", "invoke", "plugin", "rule", "source", "test"]

#: How many artifacts an action takes or makes: a number, or the least and the most.
Count = int | tuple[int, int]
Owner = Literal["Custom", "AWS", "ThirdParty"]
Capability = Literal[
    "http", "read-directory", "write-directory", "secret", "reveal-secret", "clock", "randomness", "commands", "caches"
]  # fmt: skip
Answer = TypeVar("Answer")

CAPABILITIES: dict[str, Callable[..., abi.Capability]] = {
    "http": abi.Capability_Http,
    "read-directory": abi.Capability_ReadDirectory,
    "write-directory": abi.Capability_WriteDirectory,
    "secret": abi.Capability_Secret,
    "reveal-secret": abi.Capability_RevealSecret,
    "clock": abi.Capability_Clock,
    "randomness": abi.Capability_Randomness,
    "commands": abi.Capability_Commands,
    "caches": abi.Capability_Caches,
}
# `JobFailed` is `job-failed` in the WIT.
WORDS = re.compile(r"(?<!^)([A-Z])")
# As the host wants them.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9-]*[a-z0-9])?")
VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
# Those that are all or nothing.
NAMELESS = ("clock", "randomness", "commands", "caches")
# The actions of all that `plugin` made, for `checks`.
OFFERED: list["Definition[Any]"] = []
# What a function of each category returns when it is done, and the case of the WIT's outcome for it.
DONE: dict[types.Category, tuple[type[Any], str]] = {
    types.Category.SOURCE: (Fetched, "FetchOutcome_Done"),
    types.Category.BUILD: (Report, "Outcome_Done"),
    types.Category.TEST: (Tested, "Outcome_Done"),
    types.Category.DEPLOY: (Deployed, "Outcome_Done"),
    types.Category.APPROVAL: (Decision, "Outcome_Decided"),
    types.Category.INVOKE: (Report, "Outcome_Done"),
    types.Category.RULE: (Verdict, "Outcome_Decided"),
}


@dataclass
class Ask:
    """What the plugin wants the operator to grant; made by `ask`."""

    abi: abi.Ask


@dataclass
class Definition(Generic[Answer]):
    """A function and what its decorator says of it."""

    function: Callable[..., Answer]
    settings: type | None
    declared: list[Declared]
    abi: abi.ActionType
    #: A source's other function.
    latest: Callable[..., Revision | Wait | None] | None = None

    def serves(self, wanted: types.TypeId) -> bool:
        """The category is told by the interface that was called."""
        own = self.abi.id
        return (wanted.owner, wanted.provider, wanted.version) == (own.owner, own.provider, own.version)

    def call(self, function: Callable[..., Any], action: Action, given: Iterable[types.NamedValue]) -> Any:
        if self.settings is None:
            return function(action)
        return function(action, read(self.settings, self.declared, {setting.name: setting.value for setting in given}))


def source(
    provider: str,
    *,
    latest: Callable[..., Revision | Wait | None],
    owner: Owner = "Custom",
    version: str = "1",
    outputs: Count = 1,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Fetched | Wait]], Definition[Fetched | Wait]]:
    """Like `build`, for category Source: the function makes the output artifact of `action.revision`, or of the newest
    revision where that is None, and returns `Fetched`, or a `Wait`.

    `latest` is a function with the same parameters that tells the newest revision without fetching it, as a `Revision`, a
    `Wait`, or None where there is nothing yet. The host asks it from time to time, and starts the pipeline when the
    revision is another one.
    """
    return _definition(types.Category.SOURCE, provider, owner, version, 0, outputs, variables, latest)


def build(
    provider: str,
    *,
    owner: Owner = "Custom",
    version: str = "1",
    inputs: Count = 0,
    outputs: Count = 0,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Report | Wait]], Definition[Report | Wait]]:
    """Makes a function an action of category Build. It takes an `Action`, and its settings if it has any: a dataclass named
    in the annotation of its second parameter. It returns a `Report`, or a `Wait`. Its docstring is the documentation.

    `provider`, `owner` and `version` are those of the action type. `inputs` and `outputs` are how many artifacts it takes and
    makes: a number, or the least and the most. `variables` are the names of those it returns, each with what it means.
    """
    return _definition(types.Category.BUILD, provider, owner, version, inputs, outputs, variables)


def test(
    provider: str,
    *,
    owner: Owner = "Custom",
    version: str = "1",
    inputs: Count = 1,
    outputs: Count = 0,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Tested | Wait]], Definition[Tested | Wait]]:
    """Like `build`, for category Test: it returns `Tested`, or a `Wait`."""
    return _definition(types.Category.TEST, provider, owner, version, inputs, outputs, variables)


# Where `from pipewright import test` is in a module that pytest reads.
test.__test__ = False  # type: ignore[attr-defined]


def deploy(
    provider: str,
    *,
    owner: Owner = "Custom",
    version: str = "1",
    inputs: Count = 1,
    outputs: Count = 0,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Deployed | Wait]], Definition[Deployed | Wait]]:
    """Like `build`, for category Deploy: it returns `Deployed`, or a `Wait`."""
    return _definition(types.Category.DEPLOY, provider, owner, version, inputs, outputs, variables)


def approval(
    provider: str, *, owner: Owner = "Custom", version: str = "1"
) -> Callable[[Callable[..., Decision | Wait]], Definition[Decision | Wait]]:
    """Like `build`, for category Approval, which has neither artifacts nor variables: it returns a `Decision`, or a `Wait`.
    A person's answer is the signal `approval`."""
    return _definition(types.Category.APPROVAL, provider, owner, version, 0, 0, None)


def invoke(
    provider: str,
    *,
    owner: Owner = "Custom",
    version: str = "1",
    inputs: Count = 0,
    outputs: Count = 0,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Report | Wait]], Definition[Report | Wait]]:
    """Like `build`, for category Invoke."""
    return _definition(types.Category.INVOKE, provider, owner, version, inputs, outputs, variables)


def rule(
    provider: str, *, owner: Owner = "Custom", version: str = "1"
) -> Callable[[Callable[..., Verdict | Wait]], Definition[Verdict | Wait]]:
    """Like `build`, for rules of stages, which have neither artifacts nor variables: it returns a `Verdict`, or a `Wait`."""
    return _definition(types.Category.RULE, provider, owner, version, 0, 0, None)


def ask(capability: Capability, name: str | None = None, *, reason: str) -> Ask:
    """What the plugin wants the operator to grant, and why. What it does not ask for, no grant allows.

    `http` (a host, as `name`, `name:port`, or `*` where the action's settings say which), `read-directory`,
    `write-directory`, `secret` and `reveal-secret` (each with its name, or the name of the setting that names it);
    `clock`, `randomness`, `commands` and `caches` have no name.
    """
    if capability not in CAPABILITIES:
        raise ValueError(f"there is no capability `{capability}`; there are {', '.join(CAPABILITIES)}")
    if (name is None) != (capability in NAMELESS):
        raise TypeError(f"ask({capability!r}, …) {'has no name' if name else 'needs a name: what is it to reach?'}")
    kind = CAPABILITIES[capability]
    return Ask(abi.Ask(kind() if name is None else kind(name), reason))


def plugin(
    name: str,
    version: str,
    actions: Iterable[Definition[Any]],
    *,
    documentation: str = "",
    asks: Iterable[Ask] = (),
    may_run_again: bool = True,
) -> list[type[Any]]:
    """Makes the plugin's classes: `Plugin`, and one for each category, in the order in which the actions first have it. The
    plugin's module gives them these names:

        Plugin, Build = pipewright.plugin("team/name", "1.0.0", [function])

    `version` is semantic, and the same as in `pyproject.toml`. With `may_run_again=False` an action that a crash of the host
    interrupted fails instead of running again.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"a plugin is named like `team/name`: a-z, 0-9 and -, and not `{name}`")
    if not VERSION.fullmatch(version):
        raise ValueError(f"a version is like `1.0.0`, and not `{version}`")
    actions = list(actions)
    for action in actions:
        if not isinstance(action, Definition):
            raise TypeError(f"{action!r} is no action: put `@build(…)` or another category above the function")
    OFFERED.extend(actions)
    description = abi.Description(
        name=name,
        version=version,
        documentation=inspect.cleandoc(documentation),
        action_types=[action.abi for action in actions],
        asks=[one.abi for one in asks],
        may_run_again=may_run_again,
    )
    classes: list[type[Any]] = [type("Plugin", (), {"describe": lambda _: description})]
    for category in dict.fromkeys(action.abi.id.category for action in actions):
        # By name, for a component has only the interfaces of its own world.
        outcomes = importlib.import_module(f"wit_world.exports.{category.name.lower()}")
        serving = [action for action in actions if action.abi.id.category is category]
        source = {"latest": _latest(serving, outcomes), "fetch": _run(serving, outcomes)}
        methods = source if category is types.Category.SOURCE else {"run": _run(serving, outcomes)}
        classes.append(type(category.name.capitalize(), (), methods))
    return classes


def _definition(
    category: types.Category,
    provider: str,
    owner: Owner,
    version: str,
    inputs: Count,
    outputs: Count,
    variables: Mapping[str, str] | None,
    latest: Callable[..., Revision | Wait | None] | None = None,
) -> Callable[[Callable[..., Answer]], Definition[Answer]]:
    if owner not in OWNERS:
        raise ValueError(f"there is no owner `{owner}`; there are {', '.join(OWNERS)}")

    def define(function: Callable[..., Answer]) -> Definition[Answer]:
        settings = _settings(function)
        if latest is not None and _settings(latest) is not settings:
            raise TypeError(f"`{latest.__name__}` must take the same settings as `{function.__name__}`")
        all_declared = declared(settings)
        action_type = abi.ActionType(
            id=types.TypeId(category, OWNERS[owner], provider, version),
            settings=[one.abi for one in all_declared],
            inputs=_count(inputs),
            outputs=_count(outputs),
            variables=[abi.Variable(name, meaning) for name, meaning in (variables or {}).items()],
            documentation=inspect.getdoc(function) or "",
        )
        return Definition(function, settings, all_declared, action_type, latest)

    return define


def _settings(function: Callable[..., Any]) -> type | None:
    """The class of the settings that a function takes."""
    parameters = list(inspect.signature(function).parameters)
    if not 1 <= len(parameters) <= 2:
        raise TypeError(f"`{function.__name__}` must take an Action, and its settings if it has any")
    if len(parameters) == 1:
        return None
    settings = typing.get_type_hints(function).get(parameters[1])
    if not isinstance(settings, type):
        raise TypeError(f"the second parameter of `{function.__name__}` needs its settings' class as annotation")
    return settings


def _count(count: Count) -> abi.Count:
    return abi.Count(count, count) if isinstance(count, int) else abi.Count(*count)


def _run(actions: list[Definition[Any]], outcomes: Any) -> Callable[..., Any]:
    """The method that the host calls for an action's work; that of a source has a revision besides."""

    def run(_: Any, request: types.Request, revision: str | None = None) -> Any:
        def answer(definition: Definition[Any]) -> Any:
            action = Action(request, revision)
            return done(definition, definition.call(definition.function, action, request.settings), outcomes)

        return _told(actions, request, answer)

    return run


def _latest(actions: list[Definition[Any]], outcomes: Any) -> Callable[..., Any]:
    """The method that the host calls for a source's newest revision."""

    def latest(_: Any, request: types.Request) -> Any:
        def answer(definition: Definition[Any]) -> Any:
            assert definition.latest is not None
            return found(definition, definition.call(definition.latest, Action(request), request.settings), outcomes)

        return _told(actions, request, answer)

    return latest


def _told(actions: list[Definition[Any]], request: types.Request, answer: Callable[[Definition[Any]], Any]) -> Any:
    """What the action for this request answers; and of what it raises, the failure that the ABI wants."""
    try:
        for definition in actions:
            if definition.serves(request.action_type):
                return answer(definition)
        raise Failure.configuration(f"this plugin does not offer {request.action_type}; bind another plugin to it")
    except Failure as failure:
        raised = failure
    except SystemExit as error:
        log.error(_trace(error))
        raised = Failure(f"the action called sys.exit({error.code!r}); it must return an answer, or raise a Failure")
    except BaseException as error:
        log.error(_trace(error))
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, ImportError):
            message += "; a component has what was imported while it was built: import it at the top of a module"
        raised = Failure.permission(message) if isinstance(error, PermissionError) else Failure(message)
    kind = types.FailureKind[WORDS.sub(r"_\1", raised.kind).upper()]
    raise Err(types.Failure(kind, raised.message))


def done(definition: Definition[Any], answer: Any, outcomes: Any) -> Any:
    """What a function returned, as the ABI wants it."""
    wanted, case = DONE[definition.abi.id.category]
    if isinstance(answer, Wait):
        checked(answer)
        return getattr(outcomes, case.replace("Done", "Waiting").replace("Decided", "Waiting"))(answer.abi())
    if isinstance(answer, wanted):
        checked(answer)
        return getattr(outcomes, case)(answer.abi(outcomes))
    raise TypeError(
        f"`{definition.function.__name__}` returned {_named(answer)}; it must return a {wanted.__name__} or a Wait"
    )


def found(definition: Definition[Any], answer: Any, outcomes: Any) -> Any:
    """What a source's `latest` returned, as the ABI wants it."""
    assert definition.latest is not None
    if answer is not None and not isinstance(answer, (Revision, Wait)):
        raise TypeError(f"`{definition.latest.__name__}` returned {_named(answer)}; it must return a Revision, a Wait or None")
    if answer is None:
        return outcomes.LatestOutcome_Found(None)
    checked(answer)
    if isinstance(answer, Wait):
        return outcomes.LatestOutcome_Waiting(answer.abi())
    return outcomes.LatestOutcome_Found(answer.abi(outcomes))


def _named(answer: Any) -> str:
    return "nothing" if answer is None else with_article(type(answer).__name__)


def _trace(error: BaseException) -> str:
    """Python's own traceback, from the action's function on."""
    trace = error.__traceback__
    while trace and trace.tb_next and trace.tb_frame.f_code.co_filename == _trace.__code__.co_filename:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()
