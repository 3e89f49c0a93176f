"""The interface `outgoing-handler` of wasi:http outside of a component: the host's own answers."""

import json
from typing import Any

from componentize_py_types import Err

from . import wasi_http_codes as codes
from . import secrets
from .wasi_http_types import Fields, FutureIncomingResponse, IncomingResponse, OutgoingRequest, RequestOptions
from ..state import host


def handle(request: OutgoingRequest, options: RequestOptions | None) -> FutureIncomingResponse:
    return FutureIncomingResponse(request)


def answer(request: OutgoingRequest) -> IncomingResponse:
    """The next answer that is for this method and URL; a request without one is denied, like one without a grant."""
    method = getattr(request.method_given, "value", None) or type(request.method_given).__name__.split("_")[1].upper()
    scheme, authority, path = request.url
    line = f"{method} {scheme}://{authority}{path}"
    headers = {name: secrets.put_into(value.decode()) for name, value in request.headers_given.entries()}
    host().requests.append({"request": line, "headers": headers, "body": bytes(request.received)})
    given = next((given for given in host().http if given["request"] == line), None)
    if given is None:
        host().denials.append(f'http = ["{scheme}://{authority}"]')
        raise Err(codes.ErrorCode_HttpRequestDenied())
    host().http.remove(given)
    _check(line, given.get("with", {}), headers, bytes(request.received))
    if "error" in given:
        raise Err(_code(given["error"]))
    fields = {name.lower(): value for name, value in given.get("headers", {}).items()}
    body = given.get("body", "")
    if "json" in given:
        fields.setdefault("content-type", "application/json")
        body = json.dumps(given["json"])
    entries = [(name, value.encode()) for name, value in fields.items()]
    return IncomingResponse(given.get("status", 200), Fields.from_list(entries), body if isinstance(body, bytes) else body.encode())


def _check(line: str, wanted: dict[str, Any], headers: dict[str, str], body: bytes) -> None:
    for name, value in wanted.get("headers", {}).items():
        assert headers.get(name.lower()) == value, f"{line}: the header {name} is {headers.get(name.lower())!r}, not {value!r}"
    if "body" in wanted:
        assert body.decode() == wanted["body"], f"{line}: the body is {body!r}, not {wanted['body']!r}"
    if "json" in wanted:
        assert json.loads(body) == wanted["json"], f"{line}: the body is {body!r}, not the JSON {wanted['json']!r}"


def _code(name: str) -> codes.ErrorCode:
    """The code of wasi:http of this name, like `connection-refused`; one that says more says nothing here."""
    spelled = "".join(name.split("-")).lower()
    for code, made in vars(codes).items():
        if code.lower() == f"errorcode_{spelled}":
            try:
                return made()  # type: ignore[no-any-return]
            except TypeError:
                return made(None)  # type: ignore[no-any-return]
    raise ValueError(f"wasi:http has no error code {name}")
