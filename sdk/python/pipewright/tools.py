"""Command-line tools that are WebAssembly components, run inside of the sandbox: linters, generators, whatever is built for
`wasm32-wasip2`. A tool sees the plugin's files, and nothing that the plugin could not reach itself, so that no grant is needed
for it.

    @build("Lint", inputs=1)
    def lint(action: Action) -> Report:
        \"\"\"Checks the source.\"\"\"
        status = tools.run(action.input / "tools/lint.wasm", ["--strict", str(action.input)])
        if status != 0:
            raise Failure(f"the linter ended with status {status}")
        return Report("nothing found")
"""

from collections.abc import Iterable, Mapping
from os import PathLike, fspath

from wit_world.imports import pipewright_plugin_types as types
from wit_world.imports import tools as host

from ._checked import taking
from .failure import from_host

__all__ = ["run"]

Path = str | PathLike[str]


@taking
def run(
    component: Path,
    arguments: Iterable[str] = (),
    *,
    digest: str | None = None,
    environment: Mapping[str, str] | None = None,
    network: bool = False,
) -> int:
    """Runs a tool to its end, and gives the status that it ended with. What it writes goes into the action's log.

    `component` is the file of the component: in an input artifact, in a granted directory, or one that the plugin wrote; or a tool that
    the account has installed, by the name and the version of its package: `package:team/name@1.0.0`. `digest` is
    the SHA-256 that it must have, in hexadecimal; without it, whatever the file is runs. `environment` has its variables: there are no
    others. With `network` it may reach the hosts that the plugin may; without it, none.

    A `Failure`: *permission*, where its directory is not granted; *configuration*, where it is no tool, is not installed, or
    is another one than the digest says; *job failed*, where it crashed."""
    variables = [types.NamedValue(name, value) for name, value in (environment or {}).items()]
    with from_host():
        return host.run(host.Tool(fspath(component), digest, [*arguments], variables, network))
