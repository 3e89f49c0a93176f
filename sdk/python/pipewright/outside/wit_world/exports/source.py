"""The interface `source` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass

from ..imports import pipewright_plugin_types


@dataclass
class Revision:
    id: str
    summary: str | None
    url: str | None
    created: int | None


@dataclass
class LatestOutcome_Found:
    value: Revision | None


@dataclass
class LatestOutcome_Waiting:
    value: pipewright_plugin_types.Wait


LatestOutcome = LatestOutcome_Found | LatestOutcome_Waiting


@dataclass
class Fetched:
    revision: Revision | None
    report: pipewright_plugin_types.Report


@dataclass
class FetchOutcome_Done:
    value: Fetched


@dataclass
class FetchOutcome_Waiting:
    value: pipewright_plugin_types.Wait


FetchOutcome = FetchOutcome_Done | FetchOutcome_Waiting
