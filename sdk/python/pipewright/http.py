"""Requests to hosts that the operator granted.

    token = secrets.stand_in("api-token")
    response = http.request(
        "POST",
        "https://api.example.com/v1/deployments",
        headers={"Authorization": f"Bearer {token}"},
        json={"release": 7},
    )
    id = response.raise_for_status().json()["id"]

A body may be an iterable of bytes, which goes out piece by piece, and `stream` gives the response the same way:

    with open(action.input / "site.zip", "rb") as body, http.stream("PUT", url, body=body) as response:
        for chunk in response.raise_for_status():
            ...

`all` sends several requests at once.

Redirects are not followed: each would be a request of its own, to a host that may not be granted.

The host has limits of its own: 1,000 requests in one call, 16 of them at once; 30 s to connect, 300 s until the response
begins, 60 s between its bytes, 1,800 s in all; 1 GiB for each body, 64 KiB of headers.
"""

import builtins
import json as _json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from wit_world.imports import poll

from ._checked import checked
from ._exchange import Denied, Exchange, RequestFailed, failing
from .failure import Failure
from .streams import CHUNK_BYTES_MAX, chunks

__all__ = ["Body", "Denied", "Request", "RequestFailed", "Response", "Stream", "Timeout", "all", "request", "stream"]

# What a failure shows of a response.
SHOWN_BYTES_MAX = 1024
# How many requests `all` has under way at once; the host allows 16, and a plugin may have others.
AT_ONCE_MAX = 8


@runtime_checkable
class Readable(Protocol):
    """A file, open in binary mode."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


#: What a request carries: bytes, a text as UTF-8, an iterable of pieces, or a file that is open in binary mode.
Body = bytes | str | Iterable[bytes] | Readable


@dataclass(frozen=True)
class Timeout:
    """How long to wait, in seconds; None leaves it to the host, whose limits can only be made shorter."""

    #: Until there is a connection.
    connect: float | None = None
    #: From then until the response begins.
    first_byte: float | None = None
    #: Between two pieces of its body.
    between_bytes: float | None = None


@dataclass
class Request:
    """A request to send with others by `all`; the fields are the parameters of `request`."""

    method: str
    url: str
    headers: Mapping[str, str] | None = None
    json: Any = None
    body: Body = b""
    timeout: float | Timeout | None = None
    bytes_max: int = 16 << 20


class _Head:
    """What both kinds of responses have."""

    def __init__(self, url: str, status: int, headers: dict[str, str]) -> None:
        #: As it was asked for.
        self.url = url
        #: 100 to 599.
        self.status = status
        #: By lower-case name; several of one name are joined by commas.
        self.headers = headers

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300

    def _shown(self) -> bytes:
        raise NotImplementedError

    def raise_for_status(self) -> Self:
        """The response itself if its status is 200 to 299, and else a *job failed* that says what came instead."""
        if self.ok:
            return self
        said = self._shown()[:SHOWN_BYTES_MAX].decode(errors="replace").strip()
        raise Failure(f"{self.url} answered {self.status}: {said}")


class Response(_Head):
    """A whole response, whatever its status."""

    def __init__(self, url: str, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(url, status, headers)
        #: All of it.
        self.body = body

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON; a *job failed* where it is none."""
        try:
            return _json.loads(self.body)
        except ValueError as error:
            raise Failure(f"{self.url} answered {self.status} with what is no JSON: {error}") from None

    def _shown(self) -> bytes:
        return self.body


class Stream(_Head):
    """A response whose body is read as it comes: an iterator of pieces, and a context manager that lets go of the
    connection. A body that breaks off raises a `RequestFailed`."""

    def __init__(self, exchange: Exchange) -> None:
        status, headers, body = exchange.response()
        super().__init__(exchange.url, status, headers)
        self._exchange = exchange
        self._chunks = chunks(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with failing(self.url):
            return next(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connection; what was not read is lost."""
        self._chunks.close()
        self._exchange.close()

    def read(self, bytes_max: int = 16 << 20) -> bytes:
        """The rest of the body, of at most `bytes_max` bytes; a *job failed* where it is larger."""
        received = bytearray()
        for chunk in self:
            received += chunk
            if len(received) > bytes_max:
                raise Failure(f"the response of {self.url} is larger than {bytes_max} bytes")
        return bytes(received)

    def _shown(self) -> bytes:
        return next(self, b"")


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    body: Body = b"",
    timeout: float | Timeout | None = None,
    bytes_max: int = 16 << 20,
) -> Response:
    """Sends a request and reads the whole response, of at most `bytes_max` bytes, whatever its status.

    `json` takes the place of `body`. A header value may hold a secret's stand-in; see `secrets`. `timeout` is in seconds: one
    for the connection and for the response to begin, or a `Timeout`.

    Raises a *configuration* failure for what is no URL or header, `Denied` where no grant allows the
    request, and `RequestFailed` where no response comes.
    """
    return all([Request(method, url, headers, json, body, timeout, bytes_max)])[0]


def stream(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    body: Body = b"",
    timeout: float | Timeout | None = None,
) -> Stream:
    """Like `request`, but gives the response as soon as it begins, to be read piece by piece; close it, or use it in a
    `with` statement."""
    exchange = _begin(Request(method, url, headers, json, body, timeout))
    try:
        return Stream(exchange)
    except BaseException:
        exchange.close()
        raise


def all(requests: Iterable[Request]) -> list[Response]:
    """Sends several requests, up to 8 at once, and gives their responses in the order of the requests. Bodies go out one
    after another. Where one gets no response, the others are given up, and its `Denied` or `RequestFailed` is raised."""
    left, responses = [*enumerate(requests)], dict[int, Response]()
    with ExitStack() as closing:
        under_way: dict[int, tuple[Request, Exchange]] = {}
        while left or under_way:
            while left and len(under_way) < AT_ONCE_MAX:
                index, one = left.pop(0)
                under_way[index] = (one, closing.enter_context(_begin(one)))
            for index in _answered({index: exchange for index, (_, exchange) in under_way.items()}):
                one, exchange = under_way.pop(index)
                with Stream(exchange) as response:
                    body = response.read(one.bytes_max)
                responses[index] = Response(one.url, response.status, response.headers, body)
    return [response for _, response in sorted(responses.items())]


def _answered(exchanges: Mapping[int, Exchange]) -> builtins.list[int]:
    """Which of them have a response, of which there is one at least."""
    done = [index for index, exchange in exchanges.items() if exchange.has_response]
    if done:
        return done
    with ExitStack() as closing:
        pollables = [closing.enter_context(exchange.subscribe()) for exchange in exchanges.values()]
        indexes = builtins.list(exchanges)
        return [indexes[ready] for ready in poll.poll(pollables)]


def _begin(request: Request) -> Exchange:
    """Sends a request with its body."""
    checked(request, "http.Request")
    fields = {name.lower(): value for name, value in (request.headers or {}).items()}
    body = request.body
    if request.json is not None:
        body = _json.dumps(request.json)
        fields.setdefault("content-type", "application/json")
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes):
        # Without it the body goes out in chunks, which simple servers do not read.
        if body:
            fields.setdefault("content-length", str(len(body)))
        body = [body] if body else []
    wait = request.timeout
    if not isinstance(wait, Timeout):
        wait = Timeout(wait, wait)
    seconds = (wait.connect, wait.first_byte, wait.between_bytes)
    exchange = Exchange(request.method, request.url, fields, seconds)
    try:
        exchange.send(_pieces(body))
    except BaseException:
        exchange.close()
        raise
    return exchange


def _pieces(body: Iterable[bytes] | Readable) -> Iterator[bytes]:
    for piece in _read(body):
        if not isinstance(piece, bytes):
            raise TypeError(f"a piece of `http.Request.body` must be bytes, and is of the type {type(piece).__name__}")
        yield piece


def _read(body: Iterable[bytes] | Readable) -> Iterator[bytes]:
    if isinstance(body, Iterable) and not hasattr(body, "read"):
        yield from body
    else:
        while piece := body.read(CHUNK_BYTES_MAX):
            yield piece
