"""The interface `invoke` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass

from ..imports import pipewright_plugin_types


@dataclass
class Outcome_Done:
    value: pipewright_plugin_types.Report


@dataclass
class Outcome_Waiting:
    value: pipewright_plugin_types.Wait


Outcome = Outcome_Done | Outcome_Waiting
