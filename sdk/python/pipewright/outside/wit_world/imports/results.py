"""The interface `results` outside of a component."""

from dataclasses import dataclass
from enum import Enum

from componentize_py_types import Err

from ..state import host


class Status(Enum):
    SUCCEEDED = 0
    FAILED = 1
    ERROR = 2
    SKIPPED = 3
    UNKNOWN = 4


@dataclass
class TestCase:
    suite: str
    prefix: str
    name: str
    status: Status
    duration_nanos: int | None
    message: str
    file: str | None
    line: int | None


@dataclass
class Counts:
    succeeded: int
    failed: int
    error: int
    skipped: int
    unknown: int


@dataclass
class Tests:
    counts: Counts
    cases: list[TestCase]


@dataclass
class Ratio:
    covered: int
    total: int


@dataclass
class CoveredFile:
    path: str
    lines: Ratio
    branches: Ratio


@dataclass
class Coverage:
    lines: Ratio
    branches: Ratio
    files: list[CoveredFile]


@dataclass
class Content_Tests:
    value: Tests


@dataclass
class Content_Coverage:
    value: Coverage


Content = Content_Tests | Content_Coverage


@dataclass
class Error_Invalid:
    value: str


@dataclass
class Error_Quota:
    value: str


Error = Error_Invalid | Error_Quota


def report(name: str, content: Content) -> None:
    if not name.strip():
        raise Err(Error_Invalid("the report has no name: give it one, such as `unit`"))
    host().results[name] = content.value
