import json

import plugin
from pipewright.testing import Host

FILES = {"a.txt": "one\n", "c.md": "# three\n", "docs/b.txt": "two\n"}


def test_lists_files() -> None:
    ran = Host().run(plugin.run, inputs={"Source": FILES}, outputs=["Index"], settings={"Ending": ".txt"})
    assert ran.outcome == "succeeded"
    assert ran.variables == {"Files": "2"}
    assert "info listed 2 files" in ran.log
    listed = json.loads((ran.outputs["Index"] / "files.json").read_text())
    assert [file["path"] for file in listed] == ["a.txt", "docs/b.txt"]


def test_too_few() -> None:
    ran = Host().run(plugin.run, inputs={"Source": FILES}, outputs=["Index"], settings={"AtLeast": "4"})
    assert ran.failure and "`AtLeast` wants 4" in ran.failure.message
