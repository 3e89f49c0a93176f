"""The interface `rule` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass

from ..imports import pipewright_plugin_types


@dataclass
class Verdict:
    passed: bool
    reason: str | None


@dataclass
class Outcome_Decided:
    value: Verdict


@dataclass
class Outcome_Waiting:
    value: pipewright_plugin_types.Wait


Outcome = Outcome_Decided | Outcome_Waiting
