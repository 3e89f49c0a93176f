"""The interface `approval` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass

from ..imports import pipewright_plugin_types


@dataclass
class Decision:
    approved: bool
    summary: str | None


@dataclass
class Outcome_Decided:
    value: Decision


@dataclass
class Outcome_Waiting:
    value: pipewright_plugin_types.Wait


Outcome = Outcome_Decided | Outcome_Waiting
