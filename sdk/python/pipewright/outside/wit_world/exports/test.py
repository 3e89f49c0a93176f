"""The interface `test` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass
from enum import Enum

from ..imports import pipewright_plugin_types


class Status(Enum):
    PASSED = 0
    FAILED = 1
    SKIPPED = 2


@dataclass
class Place:
    file: str
    line: int | None


@dataclass
class TestCase:
    name: str
    status: Status
    message: str | None
    place: Place | None


@dataclass
class Tested:
    report: pipewright_plugin_types.Report
    cases: list[TestCase]


@dataclass
class Outcome_Done:
    value: Tested


@dataclass
class Outcome_Waiting:
    value: pipewright_plugin_types.Wait


Outcome = Outcome_Done | Outcome_Waiting
