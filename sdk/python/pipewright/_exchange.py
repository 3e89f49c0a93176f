"""One request and its response over wasi:http.

Owns the resources of the host, and that they are let go in their order. Must not know what is in a body."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world.imports import outgoing_handler, poll, streams
from wit_world.imports import wasi_http_types as wasi

from .failure import Failure
from .streams import BrokenOff, flush, write

METHODS: dict[str, Callable[[], wasi.Method]] = {
    "GET": wasi.Method_Get, "HEAD": wasi.Method_Head, "POST": wasi.Method_Post, "PUT": wasi.Method_Put,
    "DELETE": wasi.Method_Delete, "PATCH": wasi.Method_Patch, "OPTIONS": wasi.Method_Options,
}  # fmt: skip
# From here on, a response says that the request was not taken.
REFUSED = 400


class Denied(Failure):
    """No grant allows the request: *permission*. It is no `RequestFailed`, so that a plugin that goes on without a server does not
    go on where a grant is forgotten."""


class RequestFailed(Failure):
    """No response came, or it broke off: *system unavailable*."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, "SystemUnavailable")
        #: Why, as wasi:http says it, like `connection-refused`, `connection-timeout` or
        #: `HTTP-response-timeout`; the same words as the `error` of a case's `[[http]]`.
        self.code = code


class _Answered(Exception):
    """The server answered before it had the whole body, and does not want the rest."""


class Exchange:
    """A request that is under way."""

    def __init__(
        self, method: str, url: str, headers: dict[str, str], seconds: tuple[float | None, float | None, float | None]
    ) -> None:
        self.url = url
        self._result: Any = None
        # What was taken last is let go first: a stream before its body, the request's body after the response.
        self._resources = ExitStack()
        outgoing = _outgoing(method, url, headers)
        self._body: wasi.OutgoingBody | None = outgoing.body()
        self._resources.callback(self._drop_body)
        with failing(url):
            self._future = self._resources.enter_context(outgoing_handler.handle(outgoing, _options(seconds)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._resources.close()

    def _drop_body(self) -> None:
        """Tells the host that the body ended too early, unless it ended."""
        if self._body is not None:
            with self._body:
                self._body = None

    @property
    def has_response(self) -> bool:
        return self._result is not None

    def subscribe(self) -> poll.Pollable:
        return self._future.subscribe()

    def send(self, pieces: Iterator[bytes]) -> None:
        """Sends the body, as much of it as the server wants."""
        assert self._body is not None
        try:
            first = next(pieces, None)
            if first is not None:
                with self._body.write() as stream:
                    write(stream, first, self._wait)
                    for piece in pieces:
                        write(stream, piece, self._wait)
                    flush(stream, self._wait)
            with failing(self.url):
                body, self._body = self._body, None
                wasi.OutgoingBody.finish(body, None)
        except (_Answered, BrokenOff):
            pass  # The response says why.

    def _wait(self, writable: poll.Pollable) -> None:
        """Until there is room for more, or a response that says that no more is wanted."""
        if self._result is not None:
            writable.block()
            return
        with self.subscribe() as answered:
            ready = poll.poll([writable, answered])
        if 1 in ready:
            result = self._taken()
            if isinstance(result, Err) or result.value.status() >= REFUSED:
                raise _Answered

    def _taken(self) -> Any:
        """The response that is there: it can be taken once."""
        if self._result is None:
            self._result = self._future.get()
        return self._result.value

    def response(self) -> tuple[int, dict[str, str], streams.InputStream]:
        """Waits for the response: its status, headers and body."""
        if self._result is None:
            with self.subscribe() as answered:
                answered.block()
        result = self._taken()
        if isinstance(result, Err):
            raise _failure(self.url, result.value)
        response = self._resources.enter_context(result.value)
        headers: dict[str, str] = {}
        with response.headers() as fields:
            for name, value in fields.entries():
                name, value = name.lower(), value.decode("latin-1")
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        body = self._resources.enter_context(response.consume())
        return response.status(), headers, self._resources.enter_context(body.stream())


@contextmanager
def failing(url: str) -> Iterator[None]:
    """Makes a `Denied` or a `RequestFailed` of what the host answers."""
    try:
        yield
    except Err as error:
        raise _failure(url, error.value) from None
    except BrokenOff as error:
        if error.failed and (code := wasi.http_error_code(error.failed)):
            raise _failure(url, code) from None
        text = f"the response of {url} broke off: {error}"
        raise RequestFailed(text, "connection-terminated") from None


def _outgoing(method: str, url: str, headers: dict[str, str]) -> wasi.OutgoingRequest:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise Failure.configuration(f"`{url}` is not a URL that begins with http:// or https://")
    try:
        fields = wasi.Fields.from_list([(name, value.encode()) for name, value in headers.items()])
    except Err as error:
        raise Failure.configuration(f"a header of the request to {url} is refused: {_code(error.value)}") from None
    outgoing = wasi.OutgoingRequest(fields)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        outgoing.set_method(METHODS[method]() if method in METHODS else wasi.Method_Other(method))
        outgoing.set_scheme(wasi.Scheme_Http() if parts.scheme == "http" else wasi.Scheme_Https())
        outgoing.set_authority(parts.netloc)
        outgoing.set_path_with_query(path)
    except Err:
        raise Failure.configuration(f"`{method} {url}` is not a request that can be made") from None
    return outgoing


def _options(seconds: tuple[float | None, float | None, float | None]) -> wasi.RequestOptions | None:
    if not any(one is not None for one in seconds):
        return None
    options = wasi.RequestOptions()
    setters = (options.set_connect_timeout, options.set_first_byte_timeout, options.set_between_bytes_timeout)
    for one, setter in zip(seconds, setters, strict=True):
        if one is not None:
            if one <= 0:
                raise TypeError(f"a timeout must be a number of seconds above 0, and is {one}")
            setter(int(one * 1e9))
    return options


def _failure(url: str, error: Any) -> Failure:
    code = _code(error)
    match error:
        case wasi.ErrorCode_HttpRequestDenied():
            text = (
                f"no grant allows the request to {url}, or a secret in it; the log says what is missing: a grant, like "
                '`http = ["https://example.com"]`, or an ask of the plugin'
            )
            return Denied(text, "PermissionError")
        case wasi.ErrorCode_DestinationIpProhibited():
            text = (
                f"the request to {url} leads to a private address; grant its origin with `private = true`, if it is "
                "meant to"
            )
            return Denied(text, "PermissionError")
    more = getattr(error, "value", None)
    said = f"{code}: {more}" if isinstance(more, str) else code
    return RequestFailed(f"the request to {url} failed: {said}", code)


def _code(error: Any) -> str:
    """The name that the WIT has for it: `ErrorCode_HttpRequestDenied` is `HTTP-request-denied`."""
    words = re.findall("[A-Z][a-z]*", type(error).__name__.split("_")[-1])
    short = {"Dns": "DNS", "Http": "HTTP", "Ip": "IP", "Tls": "TLS", "Uri": "URI"}
    return "-".join(short.get(word, word.lower()) for word in words)
