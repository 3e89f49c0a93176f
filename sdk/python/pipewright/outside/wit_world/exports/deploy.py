"""The interface `deploy` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass
from enum import Enum

from ..imports import pipewright_plugin_types


class TargetStatus(Enum):
    SUCCEEDED = 0
    FAILED = 1
    SKIPPED = 2


@dataclass
class Target:
    id: str
    kind: str
    status: TargetStatus
    url: str | None


@dataclass
class Deployed:
    report: pipewright_plugin_types.Report
    targets: list[Target]


@dataclass
class Outcome_Done:
    value: Deployed


@dataclass
class Outcome_Waiting:
    value: pipewright_plugin_types.Wait


Outcome = Outcome_Done | Outcome_Waiting
