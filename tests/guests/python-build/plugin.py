"""A Build plugin in Python: counts the words of an artifact's text files.

With the setting `Url` it asks that host for more and says how that went; with the setting `Pause` it answers *waiting*
once before it counts. Built by `componentize-py -d wit -w build-plugin componentize plugin -o words.wasm`.
"""

import json
import os

import wit_world
from componentize_py_types import Err
from wit_world.exports import build as build_abi
from wit_world.exports import plugin as abi
from wit_world.imports import artifacts, log, outgoing_handler
from wit_world.imports import pipewright_plugin_types as types
from wit_world.imports import wasi_http_types as http


class Plugin(wit_world.exports.Plugin):
    def describe(self) -> abi.Description:
        words = abi.ActionType(
            id=types.TypeId(types.Category.BUILD, types.Owner.CUSTOM, "Words", "1"),
            settings=[
                setting("Url", "an address to ask, to show what a denial looks like"),
                setting("Pause", "milliseconds since 1970 until which to wait before counting"),
            ],
            inputs=abi.Count(1, 1),
            outputs=abi.Count(1, 1),
            variables=[abi.Variable("Words", "how many words there are")],
            documentation="Counts the words of the text files in an artifact.",
        )
        return abi.Description(
            name="tests/words",
            version="1.0.0",
            documentation="Counts words.",
            action_types=[words],
            asks=[abi.Ask(abi.Capability_Http("*"), "to ask the address in the setting Url")],
            may_run_again=True,
        )


class Build(wit_world.exports.Build):
    def run(self, request: types.Request) -> build_abi.Outcome:
        settings = {setting.name: setting.value for setting in request.settings}
        if "Pause" in settings and request.resumed is None:
            log.write(log.Level.INFO, "waiting before counting")
            return build_abi.Outcome_Waiting(types.Wait(int(settings["Pause"]), None, b"paused once", "pausing"))
        if request.resumed is not None:
            log.write(log.Level.INFO, f"woken with {request.resumed.continuation!r}")
        if "Url" in settings:
            log.write(log.Level.WARN, ask(settings["Url"]))
        counts = count(f"/inputs/{request.inputs[0]}")
        output = f"/outputs/{request.outputs[0].name}"
        with open(f"{output}/words.json", "w") as file:
            json.dump(counts, file, indent=2, sort_keys=True)
        log.write(log.Level.INFO, f"words.json has the digest {artifacts.digest(f'{output}/words.json')}")
        total = sum(counts.values())
        variables = [types.NamedValue("Words", str(total))]
        return build_abi.Outcome_Done(types.Report(f"{total} words", None, variables, []))


def setting(name: str, documentation: str) -> abi.Setting:
    return abi.Setting(name, abi.SettingKind.TEXT, False, False, None, [], documentation)


def count(root: str) -> dict[str, int]:
    """Words by file, read with Python's ordinary file functions."""
    counts = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            try:
                with open(path, encoding="utf-8") as file:
                    counts[os.path.relpath(path, root)] = len(file.read().split())
            except UnicodeDecodeError:
                log.write(log.Level.DEBUG, f"{path} is not text")
    if not counts:
        raise Err(types.Failure(types.FailureKind.CONFIGURATION_ERROR, f"{root} has no text files; name another input"))
    return counts


def ask(url: str) -> str:
    """How a request to this address goes."""
    scheme, rest = url.split("://", 1)
    authority, _, path = rest.partition("/")
    request = http.OutgoingRequest(http.Fields())
    request.set_scheme(http.Scheme_Http() if scheme == "http" else http.Scheme_Https())
    request.set_authority(authority)
    request.set_path_with_query(f"/{path}")
    try:
        future = outgoing_handler.handle(request, None)
        future.subscribe().block()
        answer = future.get()
    except Err as error:
        return f"{url} was refused: {error.value}"
    result = answer.value if answer is not None else None
    if isinstance(result, Err):
        return f"{url} was refused: {result.value}"
    return f"{url} answered {result.value.status()}"
