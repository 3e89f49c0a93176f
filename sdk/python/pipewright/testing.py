"""Runs actions without a component and without a host, for unit tests with `pytest` or another runner.

    from pipewright.testing import Host

    import plugin

    def test_counts_files() -> None:
        host = Host()
        ran = host.run(plugin.count, inputs={"Source": {"a.md": "one", "docs/b.md": "two"}}, settings={"Ending": ".md"})
        assert ran.outcome == "succeeded"
        assert ran.variables == {"Files": "2"}
        assert "info counted 2 files" in ran.log

The words are those of the cases in `cases/`. What a `Host` does not do: enforce limits and grants, keep the plugin from the
machine that it runs on, or have Python's clocks other than `time.time` stand still. For that, and for all that a component is,
there are cases; for what a function makes of its inputs, this is quicker, and stops in a debugger.
"""

import importlib
import shutil
import tempfile
import time as _time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from wit_world import state
from wit_world.imports import commands as programs
from wit_world.imports import pipewright_plugin_types as types
from wit_world.imports import tools as components

from .action import Action, Signal
from .answer import Link, Revision, Target, TestCase, Wait
from .declare import Definition, done, found
from .failure import Failure

__all__ = ["Files", "Host", "Job", "Ran", "Tool"]

#: What is in a folder: the contents of files by path, or a folder of this machine that is copied.
Files = Mapping[str, str | bytes] | Path

# What an answer to a request may have, as in `[[http]]` of a case, and its `with`.
ANSWER_KEYS = ("request", "with", "status", "headers", "body", "json", "error")
WITH_KEYS = ("headers", "body", "json")
# Who is called, as in `[names]` of a case; the action execution's is the idempotency key where it is not given.
NAMES = ("account", "region", "pipeline", "execution", "stage", "action", "action-execution")

#: The time at which a case starts, too: 2023-11-14, 22:13:20 UTC.
TIME_DEFAULT = 1_700_000_000_000


@dataclass
class Job:
    """A program that an action started."""

    arguments: list[str]
    directory: str
    environment: dict[str, str]
    #: Environment variables, each with the name of a secret.
    secrets: dict[str, str]
    #: The same, of those that have the path of a file.
    secret_files: dict[str, str]
    network: bool
    image: str | None
    wall_seconds: int | None


@dataclass
class Tool:
    """A tool that an action ran."""

    #: As a plugin sees it, like `/inputs/Source/lint.wasm`.
    component: str
    digest: str | None
    arguments: list[str]
    environment: dict[str, str]
    network: bool


@dataclass
class Ran:
    """What came of a call."""

    outcome: Literal["succeeded", "failed", "rejected", "waiting"]
    #: What the function returned; None where it raised a `Failure`.
    answer: Any = None
    #: The `Failure` that the function raised.
    failure: Failure | None = None
    #: The one line for a person; a verdict's reason.
    summary: str | None = None
    #: As the pipeline gets them: as texts.
    variables: dict[str, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    external_id: str | None = None
    revision: Revision | None = None
    targets: list[Target] = field(default_factory=list)
    cases: list[TestCase] = field(default_factory=list)
    #: How many cases passed, failed and were skipped.
    counts: dict[str, int] = field(default_factory=dict)
    #: The folders of the output artifacts, which are there as long as this or the `Host` is.
    outputs: dict[str, Path] = field(default_factory=dict)
    #: The lines of the log, each with its level before it, like `info counted 2 files`.
    log: list[str] = field(default_factory=list)
    #: What was reported of tests and coverage, by name.
    results: dict[str, Any] = field(default_factory=dict)
    #: The program that the action started, which does not run: `Host.ended` says how it ends.
    job: Job | None = None
    #: The tools that the action ran, which do not run: `Host(tools=…)` says how they end.
    tools: list[Tool] = field(default_factory=list)
    #: What is to be kept if the action succeeds: directories below the scratch, by key.
    saved_caches: dict[str, str] = field(default_factory=dict)
    #: What no grant allowed.
    denials: list[str] = field(default_factory=list)
    #: The requests that were sent, each with its `request` (method and URL), `headers` and `body`.
    requests: list[dict[str, Any]] = field(default_factory=list)
    _kept: Any = field(default=None, repr=False)


@dataclass
class _Call:
    """What is the same for every call of one action execution."""

    definition: Definition[Any]
    request: types.Request
    inputs: Mapping[str, Files]
    declared_secrets: Mapping[str, str]


class Host:
    """A host for tests: it has files in a temporary folder, and gives what it was told to give.

    `http` are the answers to requests, in the words of `[[http]]` of a case, each given once:
    `{"request": "GET https://example.com/", "status": 200, "json": {...}}`; a request that has none is denied. `secrets` are
    the values of secrets by name, and `directories` what is in granted folders. `caches` is what earlier executions kept, by key, the
    last one used last; without it caches are not granted. `tools` are the statuses that tools end with, each once. `time` is the time of day in milliseconds
    since 1970-01-01 UTC, which `time.time` and `time.time_ns` tell while an action runs; `wake` moves it to the time that was waited
    for. `names` say who is called, in the words of `[names]` of a case: `{"stage": "Deploy"}`.

    An answer that no request took fails the call after which the action does not wait any more.
    """

    def __init__(
        self,
        *,
        http: Iterable[Mapping[str, Any]] = (),
        secrets: Mapping[str, str] | None = None,
        directories: Mapping[str, Files] | None = None,
        caches: Mapping[str, Files] | None = None,
        tools: Iterable[int] = (),
        time: int = TIME_DEFAULT,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.time = time
        self._http = [dict(answer) for answer in http]
        for answer in self._http:
            _known(answer, ANSWER_KEYS, "an answer of `http`")
            _known(answer.get("with", {}), WITH_KEYS, "`with` of an answer")
        self._names = dict(names or {})
        _known(self._names, NAMES, "`names`")
        self._secrets = dict(secrets or {})
        self._caches = None if caches is None else {key: _contents(files) for key, files in caches.items()}
        self._tool_ends = [*tools]
        self._folder = tempfile.TemporaryDirectory(prefix="pipewright-")
        self._calls = 0
        self._last: _Call | None = None
        self._until: int | None = None
        #: The granted folders, by name.
        self.directories = {name: self._root / "directories" / name for name in directories or {}}
        for name, files in (directories or {}).items():
            _fill(self.directories[name], files)

    @property
    def _root(self) -> Path:
        # What a link of the machine's leads to is the same folder under another name.
        return Path(self._folder.name).resolve()

    def run(
        self,
        action: Definition[Any],
        *,
        settings: Mapping[str, str] | None = None,
        inputs: Mapping[str, Files] | None = None,
        outputs: Iterable[str] = (),
        commands: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        secret_environment: Mapping[str, str] | None = None,
        output_variables: Iterable[str] = (),
        idempotency_key: str = "case",
        attempt: int = 1,
        revision: str | None = None,
        call: Literal["fetch", "latest"] = "fetch",
    ) -> Ran:
        """Calls an action: a function with a decorator, like `plugin.count`. `settings` are texts by their names in the
        action's configuration. `call="latest"` asks a source for its newest revision.

        A `Failure` makes the outcome *failed*; every other exception is the test's own to see.
        """
        _known(settings or {}, [setting.abi.name for setting in action.declared], "`settings` of this action")
        names = {"account": "000000000000", "region": "local", "action-execution": idempotency_key, **self._names}
        request = types.Request(
            action_type=action.abi.id,
            context=types.Context(*(names.get(name, "case") for name in NAMES)),
            settings=[types.NamedValue(name, value) for name, value in (settings or {}).items()],
            inputs=[*(inputs or {})],
            outputs=[types.Output(name, []) for name in outputs],
            commands=[*commands],
            environment=[types.NamedValue(name, value) for name, value in (environment or {}).items()],
            output_variables=[*output_variables],
            idempotency_key=idempotency_key,
            attempt=attempt,
            resumed=None,
        )
        self._last = _Call(action, request, inputs or {}, secret_environment or {})
        return self._call(self._last, revision, call)

    def wake(self, signal: Signal | None = None) -> Ran:
        """Calls the action again that answered *waiting*: because its time came, or with a signal."""
        if signal is None and self._last is not None and self._last.request.resumed is not None:
            if self._until is None:
                raise RuntimeError("the action does not wait for a time: give the signal")
            self.time = max(self.time, self._until)
        return self._wake(types.Wake_Signal(types.Signal(signal.kind, signal.payload)) if signal else types.Wake_Time())

    def ended(
        self,
        status: int = 0,
        left: Mapping[str, str | bytes] | None = None,
        *,
        limit: str | None = None,
        tail: str = "",
    ) -> Ran:
        """Calls the action again whose program has ended, with this status. `left` is what that wrote: contents by paths below
        the scratch, which the action finds with what it laid out there itself."""
        return self._wake(types.Wake_Time(), programs.End(status, None, limit, 0, 0, 0, tail), left)

    def _wake(self, wake: Any, ended: Any = None, left: Mapping[str, str | bytes] | None = None) -> Ran:
        if self._last is None or self._last.request.resumed is None:
            raise RuntimeError("no action waits: `run` one first that answers with a Wait")
        self._last.request.resumed = replace(self._last.request.resumed, wake=wake)
        return self._call(self._last, None, "fetch", ended, left or {})

    def _call(
        self,
        call: _Call,
        revision: str | None,
        function: Literal["fetch", "latest"],
        ended: Any = None,
        left: Mapping[str, str | bytes] | None = None,
    ) -> Ran:
        self._calls += 1
        root = self._root / str(self._calls)
        for name, files in call.inputs.items():
            _fill(root / "inputs" / name, files)
        for output in call.request.outputs:
            (root / "outputs" / output.name).mkdir(parents=True)
        if ended:
            shutil.move(self._root / str(self._calls - 1) / "scratch", root / "scratch")
        (root / "scratch").mkdir(parents=True, exist_ok=True)
        _write(root / "scratch", left or {})
        (self._root / "directories").mkdir(exist_ok=True)
        (root / "directories").symlink_to(self._root / "directories")
        held = state.State(
            root,
            self._secrets,
            self._http,
            ended=ended,
            declared_secrets={**call.declared_secrets},
            caches=self._caches,
            tool_ends=self._tool_ends,
        )
        definition, request = call.definition, call.request
        chosen = definition.latest if function == "latest" else definition.function
        if chosen is None:
            raise TypeError("only a source has `latest`")
        state.enter(held)
        try:
            with mock.patch.multiple(_time, time=lambda: self.time / 1000, time_ns=lambda: self.time * 1_000_000):
                answer = definition.call(chosen, Action(request, revision, root), request.settings)
                # What the host would refuse is refused here as well.
                outcomes = importlib.import_module(f"wit_world.exports.{definition.abi.id.category.name.lower()}")
                (done if function == "fetch" else found)(definition, answer, outcomes)
                if isinstance(answer, Wait):
                    wait = answer.abi()
                    self._until = wait.until
                    request.resumed = types.Resumption(wait.continuation, types.Wake_Time())
            ran = _ran(answer)
        except Failure as failure:
            ran = Ran("failed", failure=failure)
        finally:
            state.leave()
        unmade = [] if ran.outcome == "waiting" else [answer["request"] for answer in self._http]
        assert not unmade, f"requests of `http` that were not made: {', '.join(unmade)}"
        ran.outputs = {output.name: root / "outputs" / output.name for output in request.outputs}
        ran.log, ran.denials, ran.requests, ran._kept = held.log, held.denials, held.requests, self._folder
        ran.results, ran.job = held.results, held.job and _job(held.job, held.secret_files)
        ran.tools, ran.saved_caches = [_tool(tool, root) for tool in held.tools], held.saved_caches
        return ran


def _job(job: programs.Job, secret_files: list[types.NamedValue]) -> Job:
    environment, secrets, in_files = (
        {one.name: one.value for one in pairs} for pairs in (job.environment, job.secrets, secret_files)
    )
    more = (job.network, job.image, job.wall_seconds)
    return Job(job.arguments, job.directory, environment, secrets, in_files, *more)


def _tool(tool: components.Tool, root: Path) -> Tool:
    environment = {one.name: one.value for one in tool.environment}
    component = tool.component.removeprefix(str(root))
    return Tool(component, tool.digest, tool.arguments, environment, tool.network)


def _ran(answer: Any) -> Ran:
    if isinstance(answer, Wait):
        return Ran("waiting", answer, summary=answer.summary)
    ran = Ran("succeeded", answer, revision=answer if isinstance(answer, Revision) else getattr(answer, "revision", None))
    # A build's or an invocation's answer is the report itself.
    report = getattr(answer, "report", answer)
    ran.summary = getattr(report, "summary", None) or getattr(report, "reason", None)
    if hasattr(report, "abi") and hasattr(report, "variables"):
        ran.variables = {one.name: one.value for one in report.abi().variables}
        ran.links, ran.external_id = [*report.links], report.external_id
    ran.targets = [*getattr(answer, "targets", [])]
    ran.cases = [*getattr(answer, "cases", [])]
    if hasattr(answer, "cases"):
        ran.counts = {"passed": 0, "failed": 0, "skipped": 0} | Counter(case.status for case in ran.cases)
    if ran.counts.get("failed"):
        ran.outcome = "failed"
    if getattr(answer, "approved", True) is False or getattr(answer, "passed", True) is False:
        ran.outcome = "rejected"
    return ran


def _known(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """A mistyped key would do nothing."""
    for name in given:
        if name not in known:
            raise TypeError(f"{what}: there is no `{name}`; there {'are ' + ', '.join(known) if known else 'is none'}")


def _contents(files: Files) -> dict[str, bytes]:
    if isinstance(files, Path):
        return {str(path.relative_to(files)): path.read_bytes() for path in sorted(files.rglob("*")) if path.is_file()}
    return {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}


def _fill(folder: Path, files: Files) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(files, Path):
        shutil.copytree(files, folder, symlinks=True)
        return
    folder.mkdir()
    _write(folder, files)


def _write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
