"""Requests to hosts that the operator granted.

    token = secrets.stand_in("api-token")
    response = http.request(
        "POST",
        "https://api.example.com/v1/deployments",
        headers={"Authorization": f"Bearer {token}"},
        json={"release": 7},
    )
    id = response.raise_for_status().json()["id"]

Redirects are not followed: each would be a request of its own, to a host that may not be granted.
"""

import json as _json
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world.imports import outgoing_handler
from wit_world.imports import wasi_http_types as wasi

from .failure import Failure
from .streams import chunks, write_all

METHODS = {
    "GET": wasi.Method_Get, "HEAD": wasi.Method_Head, "POST": wasi.Method_Post, "PUT": wasi.Method_Put,
    "DELETE": wasi.Method_Delete, "PATCH": wasi.Method_Patch, "OPTIONS": wasi.Method_Options,
}  # fmt: skip

# What a failure shows of a response.
SHOWN_MAX = 1024


class Response:
    """A whole response, whatever its status."""

    def __init__(self, url: str, status: int, headers: dict[str, str], body: bytes) -> None:
        self.url = url
        self.status = status
        #: By lower-case name; several of one name are joined by commas.
        self.headers = headers
        self.body = body

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode(errors="replace")

    def raise_for_status(self) -> Self:
        """The response itself if its status is 200 to 299, and else a failure that says what came instead."""
        if self.ok:
            return self
        raise Failure(f"{self.url} answered {self.status}: {self.text[:SHOWN_MAX].strip()}")

    def json(self) -> Any:
        try:
            return _json.loads(self.body)
        except ValueError as error:
            raise Failure(f"{self.url} answered {self.status} with what is no JSON: {error}") from None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    body: bytes | str = b"",
    bytes_max: int = 16 << 20,
) -> Response:
    """Sends a request and reads the whole response, of at most `bytes_max` bytes. `json` takes the place of `body`.

    A header value may hold a secret's stand-in; see `secrets`. Fails with *configuration* for what is no URL or header,
    *permission* where no grant allows it, and *system unavailable* where no response comes.
    """
    fields = {name.lower(): value for name, value in (headers or {}).items()}
    if json is not None:
        body = _json.dumps(json)
        fields.setdefault("content-type", "application/json")
    body = body.encode() if isinstance(body, str) else body
    if body:
        fields.setdefault("content-length", str(len(body)))
    try:
        return _answer(_outgoing(method, url, fields), url, body, bytes_max)
    except Err as error:
        raise _failure(url, error.value) from None
    except OSError as error:
        raise Failure.system_unavailable(f"the response of {url} broke off: {error}") from None


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
        raise Failure.configuration(f"a header of the request to {url} is refused: {error.value}") from None
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


def _answer(outgoing: wasi.OutgoingRequest, url: str, body: bytes, bytes_max: int) -> Response:
    outgoing_body = outgoing.body()
    with outgoing_handler.handle(outgoing, None) as future:
        if body:
            with outgoing_body.write() as stream:
                try:
                    write_all(stream, body)
                except OSError:
                    pass  # A host that wants no more of it may well have answered.
        wasi.OutgoingBody.finish(outgoing_body, None)
        with future.subscribe() as answered:
            answered.block()
        result = future.get().value
    if isinstance(result, Err):
        raise result
    with result.value as response:
        headers: dict[str, str] = {}
        with response.headers() as fields:
            for name, value in fields.entries():
                name, value = name.lower(), value.decode("latin-1")
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        with response.consume() as incoming, incoming.stream() as stream:
            received = bytearray()
            for chunk in chunks(stream):
                received += chunk
                if len(received) > bytes_max:
                    raise Failure(f"the response of {url} is larger than {bytes_max} bytes")
        return Response(url, response.status(), headers, bytes(received))


def _failure(url: str, error: Any) -> Failure:
    match error:
        case wasi.ErrorCode_HttpRequestDenied():
            return Failure.permission(
                f"no grant allows the request to {url}; grant its origin to this action, like "
                '`http = ["https://example.com"]`'
            )
        case wasi.ErrorCode_DestinationIpProhibited():
            return Failure.permission(
                f"the request to {url} leads to a private address; grant its origin with `private = true`, if it is "
                "meant to"
            )
    return Failure.system_unavailable(f"the request to {url} failed: {error}")
