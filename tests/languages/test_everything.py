"""The cases of `everything.py`, with `pipewright.testing` in the place of the sandbox: both answer alike."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from everything import plugin
from pipewright import Action, Failure, Report, Signal, Wait, build, caches, commands, files, tools
from pipewright.testing import Host, Job, Ran, Tool

CASES = sorted(path.parent for path in Path(__file__).parents[1].glob("cases/everything-*/case.toml"))


@pytest.mark.parametrize("folder", CASES, ids=[folder.name for folder in CASES])
def test_case(folder: Path) -> None:
    case = tomllib.loads((folder / "case.toml").read_text())
    secrets, directories = (case.get("grants", {}).get(kind, {}) for kind in ("secrets", "directories"))
    kept = {key: folder / "caches" / name for key, name in case.get("caches", {}).items()}
    host = Host(
        caches=kept if "caches" in case.get("grants", {}) else None,
        http=case.get("http", []),
        secrets={name: (folder / grant["file"]).read_text() for name, grant in secrets.items()},
        directories={name: folder / grant["path"] for name, grant in directories.items()},
    )
    if folder.name == "everything-crash":
        # What is no `Failure` is the test's to see.
        with pytest.raises(TypeError):
            host.run(plugin.everything, settings=case["settings"])
        return
    ran = host.run(plugin.everything, settings=case.get("settings"), outputs=case.get("outputs", []))
    check(ran, case["expected"])
    for then in case.get("then", []):
        check(host.wake(Signal(then["signal"]["kind"], then["signal"]["payload"].encode())), then["expected"])


def check(ran: Ran, expected: dict[str, Any]) -> None:
    assert ran.outcome == expected["outcome"], ran
    if "failure" in expected:
        assert ran.failure and ran.failure.kind == expected["failure"]["kind"]
        assert all(text in ran.failure.message for text in expected["failure"]["contains"]), ran.failure.message
    if "variables" in expected:
        assert ran.variables == expected["variables"]
    for text in expected.get("log", []):
        assert any(text in line for line in ran.log), (text, ran.log)
    for text in expected.get("denials", []):
        assert any(text in denial for denial in ran.denials), (text, ran.denials)


@build("Make", inputs=1, outputs=1)
def make(action: Action) -> Report | Wait:
    """As the documentation of `commands` has it, with secrets."""
    ended = commands.ended()
    if ended is None:
        files.copy(action.input, action.scratch / "src")
        secrets, in_files = commands.declared_secrets(), {"KEY_FILE": "key:::1"}
        return commands.start(["make", "all"], directory="src", secrets=secrets, secret_files=in_files, continuation=7)
    if not ended.succeeded:
        raise Failure(f"make ended with status {ended.status}")
    assert action.resumed and action.resumed.continuation == 7 and action.resumed.signal is None
    files.copy(action.scratch / "src/build", action.output)
    return Report(files.read_text(action.scratch / "src/Makefile"))


def test_a_program() -> None:
    host = Host(secrets={"db": "a password", "key:::1": "a key"})

    def run(**more: Any) -> Ran:
        return host.run(make, inputs={"Source": {"Makefile": "all:"}}, outputs=["Built"], **more)

    ran = run(secret_environment={"DB": "db"})
    assert ran.outcome == "waiting"
    assert ran.job == Job(["make", "all"], "src", {}, {"DB": "db"}, {"KEY_FILE": "key:::1"}, False, None, None)
    ran = host.ended(0, {"src/build/app": "made"})
    assert (ran.outcome, ran.summary, ran.job) == ("succeeded", "all:", None)
    assert (ran.outputs["Built"] / "app").read_text() == "made"
    run()
    failed = host.ended(2).failure
    assert failed and failed.message == "make ended with status 2"
    denied = run(secret_environment={"DB": "other"}).failure
    assert denied and (denied.kind, denied.message) == ("PermissionError", 'no grant allows the secret "other"')


@build("Index", inputs=1, outputs=1)
def index(action: Action) -> Report:
    """As the documentation of `caches` has it."""
    key = files.digest(action.input / "words.txt")
    if caches.restore(key, "index") is None:
        files.write(action.scratch / "index/words", "made")
        caches.save(key, "index")
    files.copy(action.scratch / "index", action.output)
    return Report("indexed")


def test_caches() -> None:
    def run(kept: dict[str, dict[str, str]]) -> Ran:
        return Host(caches=kept).run(index, inputs={"Source": {"words.txt": "a b"}}, outputs=["Index"])

    first = run({})
    assert (first.outputs["Index"] / "words").read_text() == "made"
    ((key, directory),) = first.saved_caches.items()
    assert directory == "index"
    second = run({key: {"words": "kept"}})
    assert (second.outputs["Index"] / "words").read_text() == "kept" and second.saved_caches == {}


@build("Lint", inputs=1)
def lint(action: Action) -> Report:
    """As the documentation of `tools` has it."""
    status = tools.run(action.input / "lint.wasm", ["--strict"], environment={"LEVEL": "high"})
    if status != 0:
        raise Failure(f"the linter ended with status {status}")
    return Report("nothing found")


def test_tools() -> None:
    host = Host(tools=[0, 1])
    ran = host.run(lint, inputs={"Source": {}})
    assert ran.summary == "nothing found"
    assert ran.tools == [Tool("/inputs/Source/lint.wasm", None, ["--strict"], {"LEVEL": "high"}, False)]
    failed = host.run(lint, inputs={"Source": {}}).failure
    assert failed and failed.message == "the linter ended with status 1"
    with pytest.raises(AssertionError, match="for which the test has no end"):
        host.run(lint, inputs={"Source": {}})
