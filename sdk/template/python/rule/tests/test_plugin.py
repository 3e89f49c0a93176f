import plugin
from pipewright.testing import Host

# 2023-11-14, 22:13 UTC
LATE = 1_700_000_000_000


def test_in_time() -> None:
    assert Host(time=LATE).run(plugin.hours, settings={"To": "23"}).outcome == "succeeded"


def test_too_late() -> None:
    ran = Host(time=LATE).run(plugin.hours)
    assert (ran.outcome, ran.summary) == ("rejected", "it is 22 o'clock UTC; from 8 to 17 is the time")
