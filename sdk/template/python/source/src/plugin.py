"""Takes a file of a granted directory."""

from dataclasses import dataclass

import pipewright
from pipewright import Action, Failure, Fetched, Report, Revision, ask, files, setting, source


@dataclass
class Settings:
    file: str = setting("The file that is taken.")
    directory: str = setting("The name under which the directory is granted.", default="source")


def latest(action: Action, settings: Settings) -> Revision:
    """What would be fetched now, without fetching it: the host asks from time to time, and starts the pipeline when it is
    new."""
    return Revision(files.digest(action.directory(settings.directory) / settings.file))


@source("{{provider}}", latest=latest, outputs=1, variables={"Digest": "The SHA-256 of the file."})
def fetch(action: Action, settings: Settings) -> Fetched:
    """Takes one file of a granted directory."""
    path = action.directory(settings.directory) / settings.file
    digest = files.digest(path)
    # A pipeline may ask for the revision that a poll found: anything else would be a surprise.
    if action.revision not in (None, digest):
        raise Failure.revision_unavailable(f"`{settings.file}` has changed since; start anew")
    files.copy(path, action.output / settings.file)
    return Fetched(Revision(digest), Report(f"took {settings.file}", variables={"Digest": digest}))


Plugin, Source = pipewright.plugin(
    "{{plugin}}",
    "0.1.0",
    [fetch],
    documentation="{{description}}",
    asks=[ask("read-directory", "Directory", reason="the directory in which the file lies")],
)
