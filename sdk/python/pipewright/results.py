"""What tests and coverage tools found: it is kept with the execution, beside the log, and shown by `pipewright tests`. How the
action ends says whether that is good enough; a report alone fails nothing.

Of one report 10,000 cases or files are kept, those that did not succeed before all others, and of one call 4 MiB (4,194,304
bytes); the log says how many are left out, and the counts are of all. Names and paths are cut after 1,000 characters, messages
after 5,000. The 101st report of a call fails the action (*job failed*), and so does one without a name.

    results.tests("unit", [results.Case("adds", "succeeded", seconds=0.5), results.Case("waits", "failed", "it was late")])
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from wit_world.imports import results as host

from ._checked import checked
from .failure import from_host

__all__ = ["Case", "File", "Status", "coverage", "tests"]

#: How a case ended: *error* is one that could not find out.
Status = Literal["succeeded", "failed", "error", "skipped", "unknown"]

_NANOSECONDS = 1_000_000_000


@dataclass
class Case:
    """One case. `suite` and `prefix` make its name unique; `file` and `line` are where it is in the source."""

    name: str
    status: Status
    message: str = ""
    seconds: float | None = None
    suite: str = ""
    prefix: str = ""
    file: str | None = None
    line: int | None = None


@dataclass
class File:
    """How much of a file is covered: pairs of what is, and of all there is."""

    path: str
    lines: tuple[int, int]
    branches: tuple[int, int] = (0, 0)


def tests(name: str, cases: Iterable[Case]) -> None:
    """Reports tests; a later report of the same name takes its place."""
    report = _Tests(name, cases)
    checked(report, "results.tests")
    cases = list(report.cases)
    count: Counter[str] = Counter(case.status for case in cases)
    counts = host.Counts(count["succeeded"], count["failed"], count["error"], count["skipped"], count["unknown"])
    with from_host():
        host.report(name, host.Content_Tests(host.Tests(counts, [_case(case) for case in cases])))


def coverage(name: str, files: Iterable[File]) -> None:
    """Reports coverage; a later report of the same name takes its place."""
    report = _Coverage(name, files)
    checked(report, "results.coverage")
    files = list(report.files)
    for file in files:
        for what, (covers, total) in (("lines", file.lines), ("branches", file.branches)):
            if covers > total:
                raise TypeError(f"`results.coverage`: {covers} of {total} {what} of {file.path!r} cannot be covered")
    covered = [host.CoveredFile(file.path, host.Ratio(*file.lines), host.Ratio(*file.branches)) for file in files]
    lines = host.Ratio(sum(file.lines[0] for file in files), sum(file.lines[1] for file in files))
    branches = host.Ratio(sum(file.branches[0] for file in files), sum(file.branches[1] for file in files))
    with from_host():
        host.report(name, host.Content_Coverage(host.Coverage(lines, branches, covered)))


@dataclass
class _Tests:
    name: str
    cases: Iterable[Case]


@dataclass
class _Coverage:
    name: str
    files: Iterable[File]


def _case(case: Case) -> host.TestCase:
    duration = None if case.seconds is None else max(0, round(case.seconds * _NANOSECONDS))
    status = host.Status[case.status.upper()]
    return host.TestCase(case.suite, case.prefix, case.name, status, duration, case.message, case.file, case.line)
