import plugin
from pipewright.testing import Host

FILES = {"a.txt": "a\n", "b/c.txt": "c\n"}


def test_counts_files() -> None:
    ran = Host().run(plugin.count, inputs={"Source": FILES})
    assert ran.outcome == "succeeded"
    assert ran.variables == {"Files": "2"}


def test_too_many() -> None:
    ran = Host().run(plugin.count, inputs={"Source": FILES}, settings={"Most": "1"})
    assert ran.failure and "`Most`" in ran.failure.message
