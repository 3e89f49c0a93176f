"""The interface `tools` outside of a component. No tool runs: a test says with which status each ends."""

from dataclasses import dataclass

from ..state import host
from .pipewright_plugin_types import NamedValue


@dataclass
class Tool:
    component: str
    digest: str | None
    arguments: list[str]
    environment: list[NamedValue]
    network: bool


@dataclass
class Error_Denied:
    value: str


@dataclass
class Error_Invalid:
    value: str


@dataclass
class Error_Crashed:
    value: str


Error = Error_Denied | Error_Invalid | Error_Crashed


def run(tool: Tool) -> int:
    held = host()
    held.tools.append(tool)
    assert held.tool_ends, "the action ran a tool, for which the test has no end; give the test `tools`"
    return held.tool_ends.pop(0)
