"""The interface `types` of wasi:http outside of a component: requests that are kept, and responses that a host made up."""

from typing import Self

from componentize_py_types import Err, Ok

from . import error, poll, streams
from .wasi_http_codes import *  # The WIT has them in this interface.


class _Resource:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> bool | None:
        return None


class Fields(_Resource):
    def __init__(self) -> None:
        self._entries: list[tuple[str, bytes]] = []

    @classmethod
    def from_list(cls, entries: list[tuple[str, bytes]]) -> Self:
        fields = cls()
        for name, value in entries:
            if not name or any(letter in " :\r\n\0" for letter in name) or any(byte in value for byte in b"\r\n\0"):
                raise Err(HeaderError_InvalidSyntax())
            fields._entries.append((name, value))
        return fields

    def entries(self) -> list[tuple[str, bytes]]:
        return [*self._entries]


class OutgoingBody(_Resource):
    def __init__(self, received: bytearray) -> None:
        self._received = received

    def write(self) -> streams.OutputStream:
        return streams.OutputStream(self._received.extend)

    @classmethod
    def finish(cls, this: Self, trailers: Fields | None) -> None:
        pass


class OutgoingRequest(_Resource):
    def __init__(self, headers: Fields) -> None:
        self.headers_given = headers
        self.received = bytearray()
        self.method_given: Method = Method_Get()
        self.url = ["https", "", "/"]

    def body(self) -> OutgoingBody:
        return OutgoingBody(self.received)

    def set_method(self, method: Method) -> None:
        self.method_given = method

    def set_scheme(self, scheme: Scheme | None) -> None:
        self.url[0] = "http" if isinstance(scheme, Scheme_Http) else "https"

    def set_authority(self, authority: str | None) -> None:
        self.url[1] = authority or ""

    def set_path_with_query(self, path_with_query: str | None) -> None:
        self.url[2] = path_with_query or "/"


class RequestOptions(_Resource):
    def set_connect_timeout(self, duration: int | None) -> None:
        pass

    def set_first_byte_timeout(self, duration: int | None) -> None:
        pass

    def set_between_bytes_timeout(self, duration: int | None) -> None:
        pass


class IncomingBody(_Resource):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self) -> streams.InputStream:
        return streams.InputStream(self._data)


class IncomingResponse(_Resource):
    def __init__(self, status: int, headers: Fields, data: bytes) -> None:
        self._status, self._headers, self._data = status, headers, data

    def status(self) -> int:
        return self._status

    def headers(self) -> Fields:
        return self._headers

    def consume(self) -> IncomingBody:
        return IncomingBody(self._data)


class FutureIncomingResponse(_Resource):
    def __init__(self, request: OutgoingRequest) -> None:
        self._request = request

    def subscribe(self) -> poll.Pollable:
        return poll.Pollable()

    def get(self) -> Ok[Ok[IncomingResponse] | Err[ErrorCode]] | Err[None] | None:
        from .outgoing_handler import answer

        try:
            return Ok(Ok(answer(self._request)))
        except Err as error:
            return Ok(error)


def http_error_code(err: error.Error) -> ErrorCode | None:
    return None
