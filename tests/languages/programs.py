"""Has a program run that reads a secret from a file."""

import pipewright
from pipewright import Action, Report, Wait, ask, build, commands, files

SCRIPT = "cat $KEY_FILE; echo length $(wc -c <$KEY_FILE); mkdir build; echo $GIVEN >build/app; exit 3"


@build("Programs", outputs=1)
def programs(action: Action) -> Report | Wait:
    """Has a program run."""
    ended = commands.ended()
    if ended is None:
        files.write(action.scratch / "src/laid", "by the plugin")
        return commands.start(
            ["sh", "-c", SCRIPT],
            directory="src",
            environment={"GIVEN": "an environment"},
            secret_files={"KEY_FILE": "key"},
            continuation=["kept"],
        )
    files.copy(action.scratch / "src/build", action.output)
    assert action.resumed
    return Report(f"{action.resumed.continuation} {ended.status} {ended.succeeded} {ended.tail}")


asks = [ask("commands", reason="to run a script")]
Plugin, Build = pipewright.plugin("acme/programs", "0.1.0", [programs], documentation="Has a program run.", asks=asks)
