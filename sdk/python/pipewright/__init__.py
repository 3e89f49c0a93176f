"""Write Pipewright plugins in Python.

An action is a function with typed settings. What a plugin says of itself is made from the same code: the function's
docstring, the fields of its settings, and what its decorator says.

    from dataclasses import dataclass

    import pipewright
    from pipewright import Action, Failure, Report, build, files, log, setting

    @dataclass
    class Settings:
        ending: str = setting("The ending of the files that count.", default=".md")
        at_least: int | None = setting("How many there must be at least.")

    @build("Count", inputs=1, variables={"Files": "How many files there were."})
    def count(action: Action, settings: Settings) -> Report:
        \"\"\"Counts files by their ending.\"\"\"
        found = [entry for entry in files.list(action.input) if entry.path.endswith(settings.ending)]
        if len(found) < (settings.at_least or 0):
            raise Failure(f"only {len(found)} files end in {settings.ending}")
        log.info(f"counted {len(found)} files")
        return Report(f"{len(found)} files", variables={"Files": len(found)})

    Plugin, Build = pipewright.plugin("example/count", "0.1.0", [count], documentation="Counts files.")

In CodePipeline's configuration these settings are `Ending` and `AtLeast`. A plugin sees its artifacts as folders
(`/inputs/NAME`, `/outputs/NAME`), folders that the operator granted (`/directories/NAME`), and nothing else; `open` and
`pathlib` work on them.

A plugin offers one kind of actions: `source`, `build`, `test`, `deploy`, `approval`, `invoke` or `rule`; the decorator of this
name makes an action of a function, and `[tool.pipewright]` of `pyproject.toml` names the world `build-plugin`, or another's.
What the function returns is in `answer`; what it is given, in `action`. `caches`, `commands`, `files`, `http`, `log`, `results`, `secrets` and
`tools` are what the host offers. `testing` runs actions in tests without a host.
"""

import sys as _sys
from pathlib import Path as _Path

try:
    import wit_world as _wit_world
except ModuleNotFoundError:
    # Not in a component, but in a test or an editor.
    _sys.path.append(str(_Path(__file__).parent / "outside"))

from . import caches, commands, files, http, log, results, secrets, tools
from .action import Action, ActionType, Context, Resumed, Signal
from .answer import Decision, Deployed, Fetched, Link, Report, Revision, Target, TestCase, Tested, Verdict, Wait
from .declare import Ask, Count, approval, ask, build, deploy, invoke, plugin, rule, source, test
from .failure import Failure, FailureKind
from .settings import setting

__all__ = [
    "Action", "ActionType", "Ask", "Context", "Count", "Decision", "Deployed", "Failure", "FailureKind", "Fetched", "Link",
    "Report", "Resumed", "Revision", "Signal", "Target", "TestCase", "Tested", "Verdict", "Wait",
    "approval", "ask", "build", "caches", "commands", "deploy", "files", "http", "invoke", "log", "plugin", "results", "rule", "secrets",
    "setting", "source", "test", "tools",
]  # fmt: skip
