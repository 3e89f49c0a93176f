"""The interface `streams` of wasi:io outside of a component, on bytes and on what takes bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from componentize_py_types import Err

from . import error, poll

# As much as is taken at once.
ROOM_BYTES = 4096


@dataclass
class StreamError_LastOperationFailed:
    value: error.Error


@dataclass
class StreamError_Closed:
    pass


StreamError = StreamError_LastOperationFailed | StreamError_Closed


class InputStream:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def blocking_read(self, len: int) -> bytes:
        if not self._data:
            raise Err(StreamError_Closed())
        data, self._data = self._data[:len], self._data[len:]
        return data

    def subscribe(self) -> poll.Pollable:
        return poll.Pollable()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> bool | None:
        return None


class OutputStream:
    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take

    def check_write(self) -> int:
        return ROOM_BYTES

    def write(self, contents: bytes) -> None:
        self._take(contents)

    def flush(self) -> None:
        pass

    def blocking_flush(self) -> None:
        pass

    def subscribe(self) -> poll.Pollable:
        return poll.Pollable()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> bool | None:
        return None
