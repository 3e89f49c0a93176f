import plugin
from pipewright import Revision
from pipewright.testing import Host

SETTINGS = {"File": "notes.txt"}


def test_takes_a_file() -> None:
    host = Host(directories={"source": {"notes.txt": "Remember the milk.\n"}})
    found = host.run(plugin.fetch, settings=SETTINGS, call="latest").answer
    assert isinstance(found, Revision)
    ran = host.run(plugin.fetch, settings=SETTINGS, outputs=["Out"], revision=found.id)
    assert ran.outcome == "succeeded"
    assert ran.revision == found
    assert (ran.outputs["Out"] / "notes.txt").read_text() == "Remember the milk.\n"


def test_gives_no_other_revision() -> None:
    host = Host(directories={"source": {"notes.txt": "Forget the milk.\n"}})
    ran = host.run(plugin.fetch, settings=SETTINGS, outputs=["Out"], revision="0" * 64)
    assert ran.failure and ran.failure.kind == "RevisionUnavailable"


def test_reaches_nothing_without_a_grant() -> None:
    ran = Host().run(plugin.fetch, settings=SETTINGS, outputs=["Out"])
    assert ran.failure and ran.failure.kind == "PermissionError"
    assert ran.denials == ["directories.source"]
