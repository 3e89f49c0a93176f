"""Why an action failed: CodePipeline's failure types, with a message for a person."""

from typing import Literal, Self, get_args

from componentize_py_types import Err
from wit_world.imports import artifacts, caches, commands, results, secrets, tools

__all__ = ["Failure", "FailureKind"]

#: CodePipeline's failure types, by the names that the API and cases have for them.
FailureKind = Literal[
    "JobFailed",
    "ConfigurationError",
    "PermissionError",
    "RevisionOutOfSync",
    "RevisionUnavailable",
    "SystemUnavailable",
]

# The host refuses longer ones.
MESSAGE_BYTES_MAX = 16 * 1024


class Failure(Exception):
    """Raise it to fail the action. The message says what is wrong, where, and how to mend it; of more than 16 KiB the rest is
    left out.

    `Failure(…)` is for work that failed: a compiler, a page that does not parse. The others are for what the declaration,
    a grant or an outside system did. Any other exception that leaves an action fails it as *JobFailed*, with its traceback
    in the log; a `PermissionError` of Python's fails it as *PermissionError*.
    """

    def __init__(self, message: str, kind: FailureKind = "JobFailed") -> None:
        if kind not in get_args(FailureKind):
            raise TypeError(f"there is no kind of failure {kind!r}; there are {', '.join(get_args(FailureKind))}")
        super().__init__(message)
        #: For a person.
        self.message = str(message).encode(errors="replace")[:MESSAGE_BYTES_MAX].decode(errors="ignore")
        #: CodePipeline's failure type.
        self.kind: FailureKind = kind

    @classmethod
    def configuration(cls, message: str) -> Self:
        """The pipeline's declaration asks for something impossible; name the setting and how to mend it."""
        return cls(message, "ConfigurationError")

    @classmethod
    def permission(cls, message: str) -> Self:
        """A grant or an outside system refused."""
        return cls(message, "PermissionError")

    @classmethod
    def revision_out_of_sync(cls, message: str) -> Self:
        """A source's revision is older than one that was seen already."""
        return cls(message, "RevisionOutOfSync")

    @classmethod
    def revision_unavailable(cls, message: str) -> Self:
        """A source's revision is not there any more."""
        return cls(message, "RevisionUnavailable")

    @classmethod
    def system_unavailable(cls, message: str) -> Self:
        """An outside system cannot be reached just now."""
        return cls(message, "SystemUnavailable")


class from_host:
    """Makes a `Failure` of what the host answers to calls about files, caches, programs, results, secrets or tools."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        match error.value if isinstance(error, Err) else None:
            case (
                artifacts.Error_Denied(text)
                | caches.Error_Denied(text)
                | commands.Error_Denied(text)
                | secrets.Error_Denied(text)
                | tools.Error_Denied(text)
            ):
                raise Failure.permission(text) from None
            case caches.Error_Invalid(text) | commands.Error_Invalid(text) | tools.Error_Invalid(text):
                raise Failure.configuration(text) from None
            case tools.Error_Crashed(text):
                raise Failure(f"the tool crashed: {text}") from None
            case (
                artifacts.Error_NotFound(text)
                | artifacts.Error_Quota(text)
                | artifacts.Error_Invalid(text)
                | artifacts.Error_Io(text)
                | caches.Error_Io(text)
                | results.Error_Invalid(text)
                | results.Error_Quota(text)
            ):
                raise Failure(text) from None
