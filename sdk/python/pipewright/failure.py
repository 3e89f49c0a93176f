"""Why an action failed: CodePipeline's failure types, with a message for a person."""

from typing import Self

from componentize_py_types import Err
from wit_world.imports import artifacts, secrets
from wit_world.imports.pipewright_plugin_types import FailureKind


class Failure(Exception):
    """Raise it to fail the action. The message says what is wrong, where, and how to mend it.

    `Failure(…)` is for work that failed: a compiler, a page that does not parse. The others are for what the declaration,
    a grant or an outside system did.
    """

    def __init__(self, message: str, kind: FailureKind = FailureKind.JOB_FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind

    @classmethod
    def configuration(cls, message: str) -> Self:
        """The pipeline's declaration asks for something impossible; name the setting and how to mend it."""
        return cls(message, FailureKind.CONFIGURATION_ERROR)

    @classmethod
    def permission(cls, message: str) -> Self:
        """A grant or an outside system refused."""
        return cls(message, FailureKind.PERMISSION_ERROR)

    @classmethod
    def system_unavailable(cls, message: str) -> Self:
        """An outside system cannot be reached just now."""
        return cls(message, FailureKind.SYSTEM_UNAVAILABLE)


class from_host:
    """Makes a `Failure` of what the host answers to calls about files or secrets."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        match error.value if isinstance(error, Err) else None:
            case artifacts.Error_Denied(text) | secrets.Error_Denied(text):
                raise Failure.permission(text) from None
            case (
                artifacts.Error_NotFound(text)
                | artifacts.Error_Quota(text)
                | artifacts.Error_Invalid(text)
                | artifacts.Error_Io(text)
            ):
                raise Failure(text) from None
