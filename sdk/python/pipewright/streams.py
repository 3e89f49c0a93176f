"""The host's byte streams, read and written whole."""

from collections.abc import Iterator

from componentize_py_types import Err
from wit_world.imports import streams

# As much as the host hands over at once; smaller pieces cost a call each.
CHUNK_BYTES_MAX = 64 * 1024


def chunks(stream: streams.InputStream) -> Iterator[bytes]:
    while True:
        try:
            yield stream.blocking_read(CHUNK_BYTES_MAX)
        except Err as error:
            if isinstance(error.value, streams.StreamError_Closed):
                return
            raise OSError(_said(error)) from None


def write_all(stream: streams.OutputStream, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            room = stream.check_write()
            if room == 0:
                with stream.subscribe() as writable:
                    writable.block()
                continue
            count = min(len(view), room, CHUNK_BYTES_MAX)
            stream.write(bytes(view[:count]))
            view = view[count:]
        stream.blocking_flush()
    except Err as error:
        raise OSError(_said(error)) from None


def _said(error: Err) -> str:
    match error.value:
        case streams.StreamError_LastOperationFailed(failed):
            return failed.to_debug_string()
    return "the other side closed the stream"
