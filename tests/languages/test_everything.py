"""The cases of `everything.py`, with `pipewright.testing` in the place of the sandbox: both answer alike."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from everything import plugin
from pipewright import Signal
from pipewright.testing import Host, Ran

CASES = sorted(path.parent for path in Path(__file__).parents[1].glob("cases/everything-*/case.toml"))


@pytest.mark.parametrize("folder", CASES, ids=[folder.name for folder in CASES])
def test_case(folder: Path) -> None:
    case = tomllib.loads((folder / "case.toml").read_text())
    secrets, directories = (case.get("grants", {}).get(kind, {}) for kind in ("secrets", "directories"))
    host = Host(
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
