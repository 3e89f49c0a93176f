"""Uses all of the Python layer; `everything.js` does the same, and the same cases hold for both. What is Python's alone, and
what needs a real server, is in `more`."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.version import Version

import pipewright
from pipewright import Action, Failure, Link, Report, Wait, ask, build, caches, files, http, log, secrets, setting, tools


@dataclass
class Settings:
    deed: Literal[
        "settings", "files", "secrets", "directory", "http", "caches", "tools", "crash", "wait", "fail"
    ] = setting("What it does.")  # fmt: skip
    text: str | None = setting("A text.")
    whole: int = setting("A whole number.", default=7)
    real: float | None = setting("A number.")
    switch: bool = setting("A switch.", default=False)
    names: list[str] = setting("Texts.", default=["a"], name="NameList")
    hidden: int | None = setting("A number that is not to be seen.", secret=True)


@build("Everything", inputs=(0, 1), outputs=(0, 1), variables={"Answer": "A variable."})
def everything(action: Action, settings: Settings) -> Report | Wait:
    """Does what it is asked to."""
    match settings.deed:
        case "settings":
            values = [settings.text, settings.whole, settings.real, settings.switch, settings.names, settings.hidden]
            log.info(json.dumps(values))
        case "files":
            do_files(action)
        case "secrets":
            log.info(secrets.basic("user", "token") != secrets.stand_in("token"))
            log.info(secrets.reveal("shown") != "")
            secrets.stand_in("other")
        case "directory":
            log.info(action.directory("shelf"))
            action.directory("../shelf")
        case "http":
            response = http.request("PUT", "https://example.com/a?b=c", headers={"X-One": "1"}, body="text")
            log.info(f"{response.status} {response.ok} {response.headers['x-two']} {response.text}")
            try:
                http.request("GET", "https://example.com/refused").raise_for_status()
            except Failure as failure:
                log.info(failure)
            http.request("GET", "https://example.com/broken")
        case "caches":
            do_caches(action)
        case "tools":
            do_tools(action)
        case "crash":
            return len(None)
        case "fail":
            raise Failure.system_unavailable("not today")
        case "wait":
            if action.resumed is None:
                return Wait(signal="approval", continuation={"kept": [1, 2]})
            signal = action.resumed.signal
            log.info(f"{action.resumed.continuation['kept'][1]} {signal.kind} {signal.payload.decode()}")
    variables = {"Answer": True, "Left out": None, "Number": 1.5}
    return Report("done", variables=variables, links=[Link("Example", "https://example.com/")], external_id="id-1")


def do_files(action: Action) -> None:
    folder = action.scratch / "folder"
    files.write(folder / "run.sh", "#!/bin/sh\n")
    files.set_executable(folder / "run.sh")
    files.link(folder / "link", "run.sh")
    files.write(folder / "left-out", bytes(200_000))
    log.info(f"{len(files.read(folder / 'left-out'))} {files.read_text(folder / 'run.sh')!r}")
    copied = files.copy(folder, action.output / "copy", ["left-out"])
    log.info(f"copied {copied.files} {copied.bytes}")
    files.zip(action.output / "copy", action.scratch / "packed.zip")
    files.unzip(action.scratch / "packed.zip", action.output / "unpacked")
    for entry in files.list(action.output / "unpacked"):
        log.info(f"{entry.kind.name.lower()} {entry.path} {entry.executable} {entry.target}".lower())
    log.info(files.digest(action.output / "unpacked/run.sh"))
    files.read(action.scratch / "nowhere")


def do_caches(action: Action) -> None:
    log.info(caches.is_granted())
    log.info(caches.restore("none", "kept") is None)
    found = caches.restore("index-3", "kept", fallback_keys=["other-", "index-"])
    assert found
    log.info(f"{found.key} {found.digest != ''} {files.read_text(action.scratch / 'kept/note.txt')}")
    caches.save("index-3", "kept")
    caches.save("index-4", "nowhere")


def do_tools(action: Action) -> None:
    tool = action.input / "tool.wasm"
    words = ["variable", "LEVEL", "none", "copy", str(tool), str(action.output / "copied")]
    status = tools.run(tool, words, environment={"LEVEL": "high"})
    log.info(f"status {status}, copied {files.digest(action.output / 'copied') == files.digest(tool)}")
    log.info(f"status {tools.run(str(tool), ['exit'], digest=files.digest(tool))}")
    try:
        tools.run(tool, ["panic", "in the tool"])
    except Failure as failure:
        log.info(f"{failure.kind} {failure.message}")
    tools.run(tool, digest="0" * 64)


@dataclass
class More:
    deed: Literal[
        "exchange", "at-once", "waits-too-long", "stops-midway", "is-refused", "nobody-listens", "denied", "exit", "trace",
        "nothing", "package",
    ] = setting("What it does.")  # fmt: skip
    url: str = setting("Where the server is.", default="http://127.0.0.1:1")


@build("More")
def more(action: Action, settings: More) -> Report:
    """Does what is Python's alone."""
    url = settings.url
    match settings.deed:
        case "exchange":
            exchange(url)
        case "at-once":
            # Each is answered only when all are there.
            meet = [http.Request("GET", f"{url}/meet/{number}") for number in range(3)]
            log.info(",".join(response.text for response in http.all(meet)))
        case "waits-too-long":
            failing(lambda: http.request("GET", f"{url}/never", timeout=http.Timeout(first_byte=0.2)))
        case "stops-midway":
            failing(lambda: http.request("GET", f"{url}/stalls", timeout=http.Timeout(between_bytes=0.2)))
        case "is-refused":
            pieces = (bytes(1 << 16) for _ in range(1 << 12))
            response = http.request("PUT", f"{url}/too-large", body=pieces)
            log.info(f"{response.status} {response.text}")
        case "nobody-listens" | "denied":
            failing(lambda: http.request("GET", url))
        case "exit":
            sys.exit(3)
        case "trace":
            json.loads("{", object_hook=len)
        case "nothing":
            return None  # type: ignore[return-value]
        case "package":
            log.info(Version("1.10") > Version("1.9"))
    return Report("done")


def exchange(url: str) -> None:
    """Each side has a piece of the other's before it sends the next."""

    def pieces() -> Iterator[bytes]:
        yield b"one"
        http.request("GET", f"{url}/received/one")
        yield b"two"

    log.info(http.request("PUT", f"{url}/receive", body=pieces()).text)
    with http.stream("GET", f"{url}/send") as response:
        log.info(next(response).decode())
        http.request("GET", f"{url}/go-on")
        log.info(response.read().decode())


def failing(request: Callable[[], object]) -> None:
    try:
        request()
    except http.Denied as failure:
        log.info(f"{failure.kind} {failure.message}")
    except http.RequestFailed as failure:
        log.info(f"{failure.kind} {failure.code} {failure.message}")


Plugin, Build = pipewright.plugin(
    "tests/everything",
    "1.0.0",
    [everything, more],
    asks=[
        ask("http", "example.com", reason="to ask it"),
        ask("http", "*", reason="to ask the server of a test"),
        ask("secret", "token", reason="to sign in"),
        ask("reveal-secret", "shown", reason="to read it"),
        ask("read-directory", "shelf", reason="to look into it"),
        ask("clock", reason="to know the time"),
        ask("caches", reason="to keep what was made"),
    ],
    may_run_again=False,
)
