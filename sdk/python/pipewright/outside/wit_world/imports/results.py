"""The interface `results` outside of a component, with the limits of the host."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from componentize_py_types import Err

from ..state import host

REPORTS_MAX = 100
# Of the cases or files of one report.
ITEMS_MAX = 10_000
NAME_CHARS_MAX = 1_000
MESSAGE_CHARS_MAX = 5_000
# What about one of them there is besides its texts.
ITEM_BYTES = 128


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
    held = host()
    if held.reports >= REPORTS_MAX:
        raise Err(Error_Quota(f"a call keeps {REPORTS_MAX} reports: put several into one"))
    if not name.strip():
        raise Err(Error_Invalid("the report has no name: give it one, such as `unit`"))
    key = "cases" if isinstance(content, Content_Tests) else "files"
    items = [_fitting(item) for item in getattr(content.value, key)]
    kept = _kept(items)
    if len(kept) < len(items):
        held.log.append(f"warn the report {name} is not kept whole: {len(items) - len(kept)} of it are left out")
    held.reports += 1
    kept_items: Any = {key: [items[index] for index in sorted(kept)]}
    held.results[name] = replace(content.value, **kept_items)


def _fitting(item: Any) -> Any:
    """The item, with its texts cut."""
    texts = {name: value for name, value in vars(item).items() if isinstance(value, str)}
    return replace(item, **{name: value[: MESSAGE_CHARS_MAX if name == "message" else NAME_CHARS_MAX] for name, value in texts.items()})


def _kept(items: list[Any]) -> set[int]:
    """Which there is room for: those that did not succeed before all others."""
    held, kept = host(), set[int]()

    def is_good(index: int) -> bool:
        return getattr(items[index], "status", Status.SUCCEEDED) in (Status.SUCCEEDED, Status.SKIPPED)

    for index in sorted(range(len(items)), key=is_good):
        size = ITEM_BYTES + sum(len(value.encode()) for value in vars(items[index]).values() if isinstance(value, str))
        if len(kept) < ITEMS_MAX and size <= held.report_bytes_left:
            held.report_bytes_left -= size
            kept.add(index)
    return kept
