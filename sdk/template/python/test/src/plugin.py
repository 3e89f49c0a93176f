"""Looks for a word."""

from dataclasses import dataclass

import pipewright
from pipewright import Action, Failure, Report, TestCase, Tested, files, setting, test


@dataclass
class Settings:
    word: str = setting("What no file may contain.", default="lorem ipsum")


@test("{{provider}}", inputs=1)
def check(action: Action, settings: Settings) -> Tested:
    """Checks that no file contains a word."""
    cases = []
    for entry in files.list(action.input):
        if entry.kind is not files.FileKind.FILE:
            continue
        try:
            lines = files.read_text(action.input / entry.path).splitlines()
        except Failure:
            continue  # What is no text has no words.
        found = next((number for number, line in enumerate(lines, 1) if settings.word in line), None)
        if found is None:
            cases.append(TestCase.passed(entry.path))
        else:
            cases.append(TestCase.failed(entry.path, f"contains `{settings.word}`", file=entry.path, line=found))
    return Tested(cases, Report(f"{len(cases)} files"))


Plugin, Test = pipewright.plugin("{{plugin}}", "0.1.0", [check], documentation="{{description}}")
