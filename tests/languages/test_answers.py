"""What an action gives that the host cannot take is told in words: by the host of unit tests, and by the component, which must not
crash. And what the host of unit tests refuses of a test."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Before the next two, which it has outside of a component.
import pipewright
from componentize_py_types import Err
from wit_world import state
from wit_world.imports import pipewright_plugin_types as types
from pipewright import (
    Action, Decision, Deployed, Failure, Fetched, Link, Report, Revision, Target, TestCase, Tested, Verdict, Wait,
    approval, build, caches, commands, deploy, files, http, invoke, log, results, rule, secrets, setting, source, test, tools,
)  # fmt: skip
from pipewright import checks
from pipewright.testing import Host

CYCLE: list[Any] = []
CYCLE.append(CYCLE)

URL = "https://example.com/"

#: What is given to a function of the layer, and what the error says.
CALLS: list[tuple[Callable[[Action], Any], str]] = [
    (lambda _: log.progress("half", "50"), "`log.progress.percent` must be a number of at most 1,000,000,000, and is '50'"),
    (lambda _: log.progress(5), "`log.progress.summary` must be a str, and is 5"),
    (lambda _: files.list(5), "`files.list.path` must be a str or a PathLike, and is 5"),
    (lambda _: files.list("/scratch", "a"), "`files.list.except_` must be some of str, and is 'a'"),
    (lambda _: files.read_text(None), "`files.read.path` must be a str or a PathLike, and is None"),
    (lambda _: files.write("a", 5), "`files.write.data` must be a bytes or a str, and is 5"),
    (lambda _: files.write("a", "a", executable=1), "`files.write.executable` must be a bool, and is 1"),
    (lambda _: files.digest(5), "`files.digest.path` must be"),
    (lambda _: files.copy("a", 5), "`files.copy.destination` must be"),
    (lambda _: files.copy("a", "b", [5]), "`files.copy.except_[0]` must be a str"),
    (lambda _: files.set_executable("a", "yes"), "`files.set_executable.executable` must be a bool"),
    (lambda _: files.link("a", 5), "`files.link.target` must be a str"),
    (lambda _: files.sync(5), "`files.sync.path` must be"),
    (lambda _: files.zip(5, "a"), "`files.zip.source` must be"),
    (lambda _: files.unzip("a", 5), "`files.unzip.destination` must be"),
    (lambda _: http.request("GET", 5), "`http.Request.url` must be a str, and is 5"),
    (lambda _: http.request(5, URL), "`http.Request.method` must be a str"),
    (lambda _: http.stream("GET", URL, headers={"a": 5}), "`http.Request.headers['a']` must be a str, and is 5"),
    (lambda _: http.request("GET", URL, headers=["a"]), "`http.Request.headers` must be a dict"),
    (lambda _: http.request("GET", URL, bytes_max="5"), "`http.Request.bytes_max` must be a whole number, at least 0"),
    (lambda _: http.request("GET", URL, timeout="5"), "`http.Request.timeout` must be a number of at most 1,000,000,000 or a Timeout"),
    (lambda _: http.request("GET", URL, timeout=http.Timeout("5")), "`http.Request.timeout.connect` must be a number"),
    (lambda _: http.request("GET", URL, timeout=0), "a timeout must be a number of seconds above 0, and is 0"),
    (lambda _: http.request("PUT", URL, body=5), "`http.Request.body` must be a bytes or a str or"),
    (lambda _: http.request("PUT", URL, body=["a"]), "a piece of `http.Request.body` must be bytes, and is of the type str"),
    (lambda _: secrets.stand_in(5), "`secrets.stand_in.name` must be a str, and is 5"),
    (lambda _: secrets.basic(5, "token"), "`secrets.basic.user` must be a str"),
    (lambda _: secrets.reveal(None), "`secrets.reveal.name` must be a str"),
    (lambda _: commands.start("make all"), "`commands.start.arguments` must be some of str, and is 'make all'"),
    (lambda _: commands.start(["make", 5]), "`commands.start.arguments[1]` must be a str"),
    (lambda _: commands.start(["make"], environment={"A": 5}), "`commands.start.environment['A']` must be a str"),
    (lambda _: commands.start(["make"], wall_seconds=1.5), "`commands.start.wall_seconds` must be a whole number, at least 1"),
    (lambda _: commands.start(["make"], network="yes"), "`commands.start.network` must be a bool"),
    (lambda _: caches.restore(5, "a"), "`caches.restore.key` must be a str, and is 5"),
    (lambda _: caches.restore("a", None), "`caches.restore.directory` must be a str"),
    (lambda _: caches.restore("a", "b", fallback_keys="c"), "`caches.restore.fallback_keys` must be some of str, and is 'c'"),
    (lambda _: caches.save("a", 5), "`caches.save.directory` must be a str"),
    (lambda _: tools.run(5), "`tools.run.component` must be a str or a PathLike, and is 5"),
    (lambda _: tools.run("a", "b"), "`tools.run.arguments` must be some of str, and is 'b'"),
    (lambda _: tools.run("a", digest=5), "`tools.run.digest` must be a str"),
    (lambda _: tools.run("a", environment={"A": 5}), "`tools.run.environment['A']` must be a str"),
    (lambda _: tools.run("a", network=1), "`tools.run.network` must be a bool"),
    (lambda action: action.directory(5), "`action.directory.name` must be a str, and is 5"),
]  # fmt: skip

#: The category, what its action does, and what the error says.
WRONG: list[tuple[Any, Callable[[], Any], str]] = [
    (build, lambda: Report(external_id=42), "`Report.external_id` must be a str, and is 42 (of the type int)"),
    (build, lambda: Report(summary=42), "`Report.summary` must be a str"),
    (build, lambda: Report(summary="\ud800"), "`Report.summary` must be a str"),
    (build, lambda: Report(links=[Link("x", None)]), "`Report.links[0].url` must be a str, and is None"),
    (build, lambda: Report(links=["https://example.com/"]), "`Report.links[0]` must be a Link"),
    (build, lambda: Report(links=Link("x", "https://example.com/")), "`Report.links` must be some of Link"),
    (build, lambda: Report(variables={"A": float("nan")}), "`Report.variables['A']` must be a str, a number"),
    (build, lambda: Report(variables={"A": object()}), "`Report.variables['A']` must be a str, a number"),
    (build, lambda: Report(variables={1: "a"}), "a name in `Report.variables` must be a str, and is 1"),
    (build, lambda: Report(variables=["A"]), "`Report.variables` must be a dict"),
    (build, lambda: None, "returned nothing; it must return a Report or a Wait"),
    (build, lambda: Wait(seconds=float("nan")), "`Wait.seconds` must be a number from 0 to 1,000,000,000, and is nan"),
    (build, lambda: Wait(seconds=-5), "`Wait.seconds` must be a number from 0 to 1,000,000,000, and is -5"),
    (build, lambda: Wait(seconds="1"), "`Wait.seconds` must be a number"),
    (build, lambda: Wait(until=-1), "`Wait.until` must be a whole number, at least 0, and is -1"),
    (build, lambda: Wait(until=time.time()), "`Wait.until` must be a whole number"),
    (build, lambda: Wait(signal=1), "`Wait.signal` must be a str"),
    (build, lambda: Wait(seconds=1, summary=5), "`Wait.summary` must be a str, and is 5"),
    (build, lambda: Wait(seconds=1, continuation=CYCLE), "`Wait.continuation` must be what JSON can hold"),
    (build, lambda: Wait(seconds=1, continuation={1j}), "`Wait.continuation` must be what JSON can hold"),
    (build, lambda: Wait(), "needs `seconds`, `until` or `signal`"),
    (build, lambda: raising(Failure("a", "Nonsense")), "there is no kind of failure 'Nonsense'; there are JobFailed, "),
    (invoke, lambda: Tested([]), "it must return a Report or a Wait"),
    (test, lambda: Tested([TestCase("x", "ok")]), "`Tested.cases[0].status` must be one of `passed`, `failed`, `skipped`, and is 'ok'"),
    (test, lambda: Tested([TestCase("x", "passed", file="a", line=0)]), "`Tested.cases[0].line` must be a whole number, at least 1"),
    (test, lambda: Tested([TestCase("x", "passed", line=1)]), "the case 'x' has a `line` without its `file`"),
    (test, lambda: Tested([], Report(summary=1)), "`Tested.report.summary` must be a str"),
    (deploy, lambda: Deployed(targets=[Target(1, "x")]), "`Deployed.targets[0].id` must be a str"),
    (deploy, lambda: Deployed(targets=[Target("x", "x", [])]), "`Deployed.targets[0].status` must be one of"),
    (deploy, lambda: Deployed(report=None), "`Deployed.report` must be a Report"),
    (approval, lambda: Decision(approved=1), "`Decision.approved` must be a bool"),
    (rule, lambda: Verdict(passed=True, reason=7), "`Verdict.reason` must be a str, and is 7"),
    (rule, lambda: Verdict(passed="no"), "`Verdict.passed` must be a bool"),
    (source, lambda: Fetched(Revision(1)), "`Fetched.revision.id` must be a str"),
    (source, lambda: Fetched(Revision("a", created=1.5)), "`Fetched.revision.created` must be a whole number"),
    (build, lambda: results.tests(1, []), "`results.tests.name` must be a str"),
    (build, lambda: results.tests("a", [results.Case(1, "failed")]), "`results.tests.cases[0].name` must be a str, and is 1"),
    (build, lambda: results.tests("a", [results.Case("x", "ok")]), "`results.tests.cases[0].status` must be one of"),
    (build, lambda: results.coverage("a", [results.File("x", (-1, 3))]), "`results.coverage.files[0].lines[0]` must be a whole"),
    (build, lambda: results.coverage("a", [results.File("x", (5, 3))]), "5 of 3 lines of 'x' cannot be covered"),
]  # fmt: skip


def raising(error: Exception) -> None:
    raise error


def action(category: Any, answer: Callable[[], Any]) -> Any:
    def run(action: Action) -> Any:
        return answer()

    return category("X", **({"latest": run} if category is source else {}))(run)


@pytest.mark.parametrize(("category", "answer", "expected"), WRONG, ids=[expected for *_, expected in WRONG])
def test_wrong_answer(category: Any, answer: Callable[[], Any], expected: str) -> None:
    definition = action(category, answer)
    with pytest.raises(TypeError) as raised:
        Host().run(definition)
    assert expected in str(raised.value)
    failure = failed(definition)
    assert failure.kind is types.FailureKind.JOB_FAILED
    assert expected in failure.message


def failed(definition: Any) -> Any:
    """The failure that the host gets of an action that is called."""
    _, served = pipewright.plugin("a/b", "1.0.0", [definition])
    names = types.Context(*["case"] * 7)
    request = types.Request(definition.abi.id, names, [], [], [], [], [], [], "case", 1, None)
    with tempfile.TemporaryDirectory() as folder:
        state.enter(state.State(Path(folder)))
        try:
            with pytest.raises(Err) as raised:
                (served().fetch if hasattr(served, "fetch") else served().run)(request)
        finally:
            state.leave()
    return raised.value.value


def test_an_import_inside_of_a_function_is_explained() -> None:
    definition = action(build, lambda: raising(ModuleNotFoundError("No module named 'late'")))
    failure = failed(definition)
    assert failure.message == (
        "ModuleNotFoundError: No module named 'late'; a component has what was imported while it was built: import it at the top "
        "of a module"
    )


@pytest.mark.parametrize(("call", "expected"), CALLS, ids=[expected for _, expected in CALLS])
def test_wrong_argument(call: Callable[[Action], Any], expected: str) -> None:
    @build("X")
    def run(action: Action) -> Report:
        call(action)
        return Report()

    with pytest.raises(TypeError) as raised:
        Host().run(run)
    assert expected in str(raised.value)


def test_right_answers() -> None:
    links = (Link(name, "https://example.com/") for name in ("a", "b"))
    ran = Host().run(action(build, lambda: Report("a", {"A": 1.5, "B": ["x"], "C": None, "D": True}, links, "id")))
    assert ran.variables == {"A": "1.5", "B": '["x"]', "D": "true"}
    assert [link.title for link in ran.links] == ["a", "b"]


def test_reports_have_the_limits_of_the_host() -> None:
    def kept(report: Callable[[], Any], left_out: int) -> list[Any]:
        ran = Host().run(action(build, lambda: report() or Report()))
        told = [f"warn the report unit is not kept whole: {left_out} of it are left out"] if left_out else []
        assert ran.log == told
        return ran.results["unit"].cases if hasattr(ran.results["unit"], "cases") else ran.results["unit"].files

    def cases(count: int, message: str = "") -> list[results.Case]:
        return [results.Case("x", "succeeded", message)] * count + [results.Case("last", "failed")]

    for count, left_out in ((9_999, 0), (10_000, 1)):
        found = kept(lambda: results.tests("unit", cases(count)), left_out)
        assert len(found) == 10_000 and found[-1].name == "last"
    # 4 MiB, less the last, of 5,000 bytes of message each, one of name, and 128 besides.
    found = kept(lambda: results.tests("unit", cases(1_000, "x" * 6_000)), 183)
    assert len(found) == 818 and found[-1].name == "last" and len(found[0].message) == 5_000
    found = kept(lambda: results.coverage("unit", [results.File("é" * 1_001, (0, 0))] * 10_001), 8_030)
    assert len(found) == 1_971 and len(found[0].path) == 1_000
    ran = Host().run(action(build, lambda: [results.tests("unit", []) for _ in range(101)]))
    assert ran.failure and ran.failure.message == "a call keeps 100 reports: put several into one"


def test_wrong_latest() -> None:
    with pytest.raises(TypeError, match="`Revision.id` must be a str"):
        Host().run(action(source, lambda: Revision(1)), call="latest")
    with pytest.raises(TypeError, match="it must return a Revision, a Wait or None"):
        Host().run(action(source, lambda: Report()), call="latest")


@dataclass
class Settings:
    known: str | None = setting("A text.")


@dataclass
class Several:
    first: int = setting("A number.")
    second: str = setting("A text.")


@build("Several")
def several(action: Action, settings: Several) -> Report:
    """Is never called."""
    return Report()


def test_all_wrong_settings_are_told() -> None:
    ran = Host().run(several, settings={"First": "x"})
    assert ran.failure and ran.failure.kind == "ConfigurationError"
    assert ran.failure.message.splitlines() == [
        "setting `First` must be a whole number, and is `x`; correct it in the action's configuration",
        "setting `Second` is missing; add it to the action's configuration",
    ]


def test_wrong_settings_are_told_when_a_pipeline_is_made() -> None:
    pipewright.plugin("a/b", "1.0.0", [several])
    given = [types.NamedValue("First", "1.5"), types.NamedValue("Second", "any"), types.NamedValue("Other", "x")]
    [problem] = checks.Checks().check(several.abi.id, given)
    assert (problem.setting, problem.message) == ("First", "must be a whole number, and is `1.5`")


@dataclass
class Mistaken:
    a: dict[str, int] = setting("No setting.")
    b: int = 5
    c: int = setting("A number.", default="five")
    d: str | int = setting("No setting.")


def test_all_mistakes_in_declared_settings_are_told() -> None:
    def run(action: Action, settings: Mistaken) -> Report:
        return Report()

    with pytest.raises(TypeError) as raised:
        build("Mistaken")(run)
    assert str(raised.value) == (
        "the settings of `Mistaken`: the setting `a` cannot be of the type `dict[str, int]`; `b` is not made by `setting(…)`; the "
        "default of `c` must be a whole number, and is 'five'; the setting `d` cannot be of the type `str | int`; a setting is "
        "made by `setting(…)`, and is a `str`, `int`, `float`, `bool`, `list[str]`, a `Literal` of texts, or one of these `| None`"
    )


@build("Asks")
def asks(action: Action, settings: Settings) -> Report:
    """Asks a server."""
    log.info(f"{action.context.account} {action.context.stage} {action.context.action_execution_id}")
    try:
        http.request("GET", "https://example.com/")
    except http.RequestFailed as failure:
        return Report(f"goes on after {failure.code}")
    return Report("has an answer")


def test_wrong_tests() -> None:
    answer = {"request": "GET https://example.com/"}
    with pytest.raises(TypeError, match="an answer of `http`: there is no `jsn`; there are request, with, "):
        Host(http=[answer | {"jsn": {}}])
    with pytest.raises(TypeError, match="`with` of an answer: there is no `head`"):
        Host(http=[answer | {"with": {"head": {}}}])
    with pytest.raises(TypeError, match="`names`: there is no `user`"):
        Host(names={"user": "me"})
    with pytest.raises(TypeError, match="`settings` of this action: there is no `Bogus`; there are Known"):
        Host(http=[answer]).run(asks, settings={"Bogus": "1"})
    with pytest.raises(AssertionError, match="were not made: GET https://example.com/"):
        Host(http=[answer, answer]).run(asks)


def test_what_is_denied_is_no_failed_request() -> None:
    ran = Host(names={"stage": "Prod"}).run(asks)
    assert ran.failure and ran.failure.kind == "PermissionError"
    assert "info 000000000000 Prod case" in ran.log
    broken = Host(http=[{"request": "GET https://example.com/", "error": "connection-refused"}]).run(asks)
    assert broken.summary == "goes on after connection-refused"


@build("Polls")
def polls(action: Action) -> Report | Wait:
    """Waits for a minute, ten seconds at a time."""
    until = action.resumed.continuation if action.resumed else time.time() + 60
    return Report("done") if time.time() >= until else Wait(seconds=10, continuation=until)


def test_the_clock_moves_to_what_was_waited_for() -> None:
    host = Host()
    ran = host.run(polls)
    for _ in range(6):
        assert ran.outcome == "waiting"
        ran = host.wake()
    assert ran.outcome == "succeeded"
    host.run(action(build, lambda: Wait(signal="approval")))
    with pytest.raises(RuntimeError, match="does not wait for a time"):
        host.wake()
