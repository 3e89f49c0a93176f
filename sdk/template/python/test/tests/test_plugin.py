import plugin
from pipewright.testing import Host


def test_finds_the_word() -> None:
    ran = Host().run(
        plugin.check, inputs={"Source": {"index.md": "# Home\nMore later.\n", "a.bin": b"\xff"}}, settings={"Word": "later"}
    )
    assert ran.outcome == "failed"
    assert ran.counts == {"passed": 0, "failed": 1, "skipped": 0}
    [case] = ran.cases
    assert (case.file, case.line) == ("index.md", 2)


def test_all_is_well() -> None:
    ran = Host().run(plugin.check, inputs={"Source": {"index.md": "# Home\n"}})
    assert ran.outcome == "succeeded"
    assert ran.summary == "1 files"
