"""Requests that are no requests: what is wrong below the operations, and what a stranger sends.

Must not know what an operation does."""

import datetime
import struct
import unittest.mock

import botocore.auth

import model
import wire

# The server's own limit; a body of one byte more is refused.
BODY_BYTES_MAX = 2 * 1024 * 1024


def unreadable(client):
    """Bodies that are not of the protocol, or that try to use up the server."""
    deep = 100_000
    bodies = {
        wire.Json: [
            b"{", b"}", b"nonsense", b"[]", b"null", b"7", b'"{}"', b"{} {}", b"\xff\xfe{}", b'{"name": "\xff"}',
            b"{'a': 1}",
            b'{"name": NaN}', b"{,}", b"[" * deep, b'{"a":' * deep, b'{"name": ' + b"[" * deep + b"]" * deep + b"}",
            b'{"name": 1e999}', b"\x00" * 1000,
        ],
        wire.Cbor: [
            b"\xa1", b"\xff", b"\xbf", b"\xa1\x64na", b"\x80", b"\xf6", b"\x07", b"\x60", b"\xa0\xa0", b"\x1c",
            b"\x81" * deep, b"\xa1\x61a" * deep, b"\x9f" * deep, b"\xc1" * deep,
            # Lengths that are not there: 2^32 items, 2^63 bytes, 2^63 entries.
            b"\x9b" + struct.pack(">Q", 2**32), b"\xa1\x64name\x7b" + struct.pack(">Q", 2**63),
            b"\xbb" + struct.pack(">Q", 2**63), b"\xa1\x64name\x5b" + struct.pack(">Q", 2**63),
            b"\xa1\x64name\x61\xff", b"\x7f\x61a\xff", b"\xbf\x61a\xff",
        ],
    }
    for operation in ("GetPipelineState", "CreatePipeline", "ListPipelines"):
        for body in bodies[client.protocol]:
            client.body(operation, body, "SerializationException", body[:40])


def strange_values(client):
    """Documents that can be read, and that hold what no member takes."""
    values = [2**63, -(2**64), 1e300, 1.5, "", "\0", "\u202e", "x" * 100_000, {}, [], [None], {"": {"": []}}, True]
    for value in values:
        codes = ("ValidationException", "SerializationException")
        client.document("GetPipelineState", {"name": value}, codes)
        client.document("ListPipelines", {"maxResults": value, "nextToken": 7}, codes)
        client.document("CreatePipeline", {"pipeline": {"stages": value}}, codes)
    # Null is absent, and what is unknown is ignored.
    client.document("ListPipelines", {"maxResults": None, "nextToken": None, "unknown": [1.5, {"a": None}]})
    client.document("ListPipelines", {"__type": "ListPipelinesInput"})
    if client.protocol is wire.Cbor:
        codes = ("ValidationException", "SerializationException")
        for wrong in (b"\x41a", b"\xc2\x41\x07", b"\xf9\x7e\x00", b"\xf7", b"\xe0"):
            client.body("GetPipelineState", b"\xa1\x64name" + wrong, codes, wrong)
        client.body("ListPipelines", b"\xa1\x07\x07", codes, "a key that is no text")


def other_forms(client):
    """The same document written in another way."""
    client.body("ListPipelines", b"", None, "an empty body")
    if client.protocol is wire.Json:
        for body in (b"{}", b" \n{ }\t", b'{"maxResults": 1000, "next\\u0054oken": null}'):
            client.body("ListPipelines", body, None, body)
        headers = {**wire.Json.headers("ListPipelines"), "Content-Type": "application/x-amz-json-1.1; charset=utf-8"}
        client.judge("ListPipelines", client.server.signed("POST", "/", headers, b"{}"), None, "a charset")
        return
    name = b"\x7f\x64rele\x65ased-\x64cbor\xff"
    indefinite = b"\xbf\x7f\x62na\x62me\xff" + name + b"\x67unknown\x9f\x7f\x61a\xff\xff\xff"
    client.body("GetPipelineState", indefinite, None, "items of indefinite length")
    for number in (b"\x19\x03\xe8", b"\x1a\x00\x00\x03\xe8", b"\x1b" + struct.pack(">Q", 1000)):
        client.body("ListPipelines", b"\xa1\x6amaxResults" + number, None, number)
    client.body("ListPipelines", b"\xa1\x78\x09nextToken\xf6", None, "a length longer than it needs to be")


def unknown_operations(client, offered):
    for name in [*model.SERVICE.operation_names, "NoSuchOperation", "listPipelines"]:
        if name not in offered:
            client.document(name, {}, "UnknownOperationException")


def signatures(client):
    """Who is not who they say, or says it wrongly."""
    server, body = client.server, client.protocol.encode({})
    headers, path = client.protocol.headers("ListPipelines"), client.protocol.path("ListPipelines")

    def judge(answer, code, about):
        client.judge("ListPipelines", answer, code, about)

    judge(server.send("POST", path, headers, body), "MissingAuthenticationTokenException", "no signature")
    invalid = "InvalidSignatureException"
    for code, scope in [
        (invalid, {"secret": "wrong"}), ("UnrecognizedClientException", {"key": "AKIDUNKNOWN"}),
        (invalid, {"region": "eu-west-1"}), (invalid, {"service": "s3"}),
    ]:
        judge(server.signed("POST", path, headers, body, **scope), code, scope)
    for minutes in (-16, 16, -60 * 24 * 366):
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        with unittest.mock.patch.object(botocore.auth, "get_current_datetime", lambda now=now: now):
            judge(server.signed("POST", path, headers, body), invalid, f"{minutes} minutes off")

    signed = server.sign("POST", path, headers, body)
    judge(server.send("POST", path, signed, client.protocol.encode({"maxResults": 1})), invalid, "another body")
    judge(server.send("POST", path + "?a=b", signed, body), invalid, "another query")
    for name, value in [("X-Amz-Date", "yesterday"), ("X-Amz-Date", ""), ("X-Amz-New", "1")]:
        answer = server.send("POST", path, {**signed, name: value}, body)
        judge(answer, (invalid, "IncompleteSignatureException"), f"{name}: {value}")
    good = signed["Authorization"]
    for authorization in [
        "", "Basic YTpi", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=", good[:-1], good + "0",
        good.replace("/", "|"), good.replace("host;", ""), good.upper(), "AWS4-HMAC-SHA256 " + "Credential=a," * 1000,
    ]:
        unclear = ("IncompleteSignature", "MissingAuthenticationToken", "UnrecognizedClient")
        codes = (invalid, *(f"{code}Exception" for code in unclear))
        judge(server.send("POST", path, {**signed, "Authorization": authorization}, body), codes, authorization[:80])


def transport(client):
    """HTTP itself."""
    server, path = client.server, client.protocol.path("ListPipelines")
    headers = client.protocol.headers("ListPipelines")
    report = client.report

    def refused(answer, about, statuses=range(400, 500)):
        report.check(answer.status in statuses, f"{client.protocol.name}: {about}: {answer.status} {answer.body[:100]}")

    for method in ("GET", "PUT", "DELETE", "OPTIONS", "HEAD"):
        refused(server.signed(method, path, headers, b""), f"{method} {path}")
    for content_type in ("text/plain", "application/json", ""):
        answer = server.signed("POST", path, {**headers, "Content-Type": content_type}, b"{}")
        client.judge("ListPipelines", answer, "SerializationException", f"content-type: {content_type}")
    if client.protocol is wire.Cbor:
        for protocol in ("rpc-v2-json", ""):
            answer = server.signed("POST", path, {**headers, "Smithy-Protocol": protocol}, b"\xa0")
            client.judge("ListPipelines", answer, "SerializationException", f"smithy-protocol: {protocol}")

    filler = {wire.Json: b" ", wire.Cbor: b"\xa0"}[client.protocol]
    answer = server.signed("POST", path, headers, filler * (BODY_BYTES_MAX + 1))
    client.judge("ListPipelines", answer, "RequestEntityTooLargeException", "a body over the limit")
    refused(server.send("POST", path, {**headers, "X-Large": "x" * 1_000_000}, b""), "large headers")
    refused(server.send("POST", path, {**headers, **{f"X-{n}": "x" for n in range(5000)}}, b""), "many headers")
    client.call("ListPipelines", {})


def every_attack(client, offered):
    for attack in (unreadable, strange_values, other_forms, signatures, transport):
        attack(client)
    unknown_operations(client, offered)
