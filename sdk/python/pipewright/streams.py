"""The host's byte streams, read and written."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from componentize_py_types import Err
from wit_world.imports import poll, streams

# As much as the host hands over at once; smaller pieces cost a call each.
CHUNK_BYTES_MAX = 64 * 1024


class BrokenOff(OSError):
    """The other side is gone, or wants no more."""

    def __init__(self, error: Err[streams.StreamError]) -> None:
        #: What the host has of it.
        self.failed = error.value.value if isinstance(error.value, streams.StreamError_LastOperationFailed) else None
        super().__init__(self.failed.to_debug_string() if self.failed else "the other side closed the stream")


def chunks(stream: streams.InputStream) -> Generator[bytes, None, None]:
    """What comes, as it comes."""
    while True:
        try:
            yield stream.blocking_read(CHUNK_BYTES_MAX)
        except Err as error:
            if isinstance(error.value, streams.StreamError_Closed):
                return
            raise BrokenOff(error) from None


def write(
    stream: streams.OutputStream,
    data: bytes,
    wait: Callable[[poll.Pollable], object] = lambda writable: writable.block(),
) -> None:
    """Writes everything; `wait` is called whenever there is no room, and gives up by an exception."""
    view = memoryview(data)
    with _breaking():
        while view:
            room = stream.check_write()
            if room == 0:
                with stream.subscribe() as writable:
                    wait(writable)
                continue
            count = min(len(view), room, CHUNK_BYTES_MAX)
            stream.write(bytes(view[:count]))
            view = view[count:]


def flush(stream: streams.OutputStream, wait: Callable[[poll.Pollable], object] = lambda writable: writable.block()) -> None:
    """Waits until what was written is on its way; `wait` as in `write`."""
    with _breaking():
        stream.flush()
        while stream.check_write() == 0:
            with stream.subscribe() as writable:
                wait(writable)


@contextmanager
def _breaking() -> Iterator[None]:
    try:
        yield
    except Err as error:
        raise BrokenOff(error) from None
