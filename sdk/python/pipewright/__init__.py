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

`files`, `http`, `log` and `secrets` are what the host offers.
"""

from . import files, http, log, secrets
from .action import Action, Resumed, Signal
from .answer import Deployed, Link, Report, Target, Wait
from .declare import ask, build, deploy, plugin
from .failure import Failure
from .settings import setting

__all__ = [
    "Action", "Deployed", "Failure", "Link", "Report", "Resumed", "Signal", "Target", "Wait",
    "ask", "build", "deploy", "files", "http", "log", "plugin", "secrets", "setting",
]  # fmt: skip
