"""Lists the files of an artifact."""

import json
from dataclasses import dataclass

import pipewright
from pipewright import Action, Failure, Report, build, files, log, setting


@dataclass
class Settings:
    ending: str = setting("The ending of the files that are listed; all without it.", default="")
    at_least: int = setting("How many there must be.", default=1)


@build("{{provider}}", inputs=1, outputs=1, variables={"Files": "How many files there were."})
def run(action: Action, settings: Settings) -> Report:
    """Writes `files.json`: the name, size and SHA-256 of each file of the input artifact."""
    found = []
    for entry in files.list(action.input):
        if entry.kind is files.FileKind.FILE and entry.path.endswith(settings.ending):
            digest = files.digest(action.input / entry.path)
            found.append({"path": entry.path, "size": entry.size, "sha256": digest})
    if len(found) < settings.at_least:
        raise Failure(f"{len(found)} files end in `{settings.ending}`, and `AtLeast` wants {settings.at_least}")
    (action.output / "files.json").write_text(json.dumps(found, indent=2) + "\n")
    log.info(f"listed {len(found)} files")
    return Report(f"{len(found)} files", variables={"Files": len(found)})


Plugin, Build = pipewright.plugin("{{plugin}}", "0.1.0", [run], documentation="{{description}}")
