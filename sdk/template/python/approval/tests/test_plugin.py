import pytest

import plugin
from pipewright import Signal
from pipewright.testing import Host


@pytest.mark.parametrize(
    ("answer", "outcome", "summary"),
    [
        (b'{"status": "Approved", "summary": "looks good", "by": "maria"}', "succeeded", "looks good"),
        (b'{"status": "Rejected", "summary": "not yet", "by": "maria"}', "rejected", "not yet"),
        (b'{"status": "Approved", "by": "maria"}', "rejected", "maria does not say why"),
    ],
)
def test_wants_a_reason(answer: bytes, outcome: str, summary: str) -> None:
    host = Host()
    ran = host.run(plugin.approve)
    assert (ran.outcome, ran.summary) == ("waiting", "May this go out?")
    ran = host.wake(Signal("approval", answer))
    assert (ran.outcome, ran.summary) == (outcome, summary)
