"""The interface `commands` outside of a component. No program runs: a test says how one ended."""

from dataclasses import dataclass

from componentize_py_types import Err

from ..state import host
from .pipewright_plugin_types import NamedValue


@dataclass
class Job:
    arguments: list[str]
    directory: str
    environment: list[NamedValue]
    secrets: list[NamedValue]
    network: bool
    image: str | None
    wall_seconds: int | None


@dataclass
class End:
    status: int
    signal: int | None
    limit: str | None
    cpu_micros: int
    memory_bytes_max: int
    wall_micros: int
    tail: str


@dataclass
class Error_Denied:
    value: str


@dataclass
class Error_Invalid:
    value: str


Error = Error_Denied | Error_Invalid


def start(job: Job) -> None:
    start_with_files(job, [])


def start_with_files(job: Job, secret_files: list[NamedValue]) -> None:
    if host().job is not None:
        raise Err(Error_Invalid("a call starts one program, and this one has started one"))
    for secret in [*job.secrets, *secret_files]:
        if secret.value not in host().secrets:
            host().denials.append(f'the secret "{secret.value}"')
            raise Err(Error_Denied(f'no grant allows the secret "{secret.value}"'))
    host().job, host().secret_files = job, secret_files


def ended() -> End | None:
    end: End | None = host().ended
    return end


def declared_secrets() -> list[NamedValue]:
    return [NamedValue(name, secret) for name, secret in host().declared_secrets.items()]
