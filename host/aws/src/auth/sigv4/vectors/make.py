"""Prints botocore.json: requests signed by botocore's own signer, at a fixed time. Needs botocore."""
import datetime, json
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 11, 22, 10, 20, 30)
KEY = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "http://127.0.0.1:7420"
JSON = [("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", "CodePipeline_20150709.ListPipelines")]
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

CASES = {
    "json": ("POST", "/", JSON, "{}"),
    "empty body": ("POST", "/", JSON, ""),
    "unicode body": ("POST", "/", JSON, '{"reason":"später – 後で 🚀"}'),
    "cbor": ("POST", "/service/CodePipeline_20150709/operation/ListPipelines",
             [("smithy-protocol", "rpc-v2-cbor"), ("Accept", "application/cbor"), ("Content-Type", "application/cbor")],
             "\u0000"),
    "query": ("GET", "/v1/events?from=now&after=12", [], ""),
    "query out of order": ("GET", "/v1/events?b=2&a=2&B=1&a=1&a=10", [], ""),
    "repeated query keys": ("GET", "/v1/events?x=2&x=1&x=", [], ""),
    "encoded query": ("GET", "/v1/events?name=a%20b%2Bc%26d%3De&%C3%A4=%E5%BE%8C", [], ""),
    "unreserved query": ("GET", "/?-._~0aZ=-._~0aZ", [], ""),
    "query key without value": ("GET", "/?acl=&z=1", [], ""),
    "encoded path": ("GET", "/v1/a%20b/%C3%A4/c%2Fd", [], ""),
    "odd path": ("GET", "/v1/a:b@c,d;e!f$g'(h)*i+j=k&l~m", [], ""),
    "folder": ("GET", "/v1/pipelines/", [], ""),
    "folded header": ("POST", "/", JSON + [("X-Amz-Meta-Note", "  a   b \t c  ")], "{}"),
    "repeated header": ("POST", "/", JSON + [("X-Amz-Meta", "b"), ("X-Amz-Meta", " a  c ")], "{}"),
    "empty header": ("POST", "/", JSON + [("X-Amz-Meta", "")], "{}"),
    "unsigned headers": ("POST", "/", JSON + [("User-Agent", "aws-cli"), ("X-Amzn-Trace-Id", "Root=1")], "{}"),
    "content hash": ("POST", "/", JSON + [("X-Amz-Content-SHA256", EMPTY_SHA256)], ""),
    "date header": ("POST", "/", JSON + [("Date", "is replaced")], "{}"),
}


def signed(name, method, target, headers, body):
    request = AWSRequest(method=method, url=HOST + target, data=body.encode())
    request.headers.add_header("Host", HOST.removeprefix("http://"))
    for header in headers:
        request.headers.add_header(*header)
    botocore.auth.SigV4Auth(KEY, "codepipeline", "us-east-1").add_auth(request)
    return {"name": name, "method": method, "target": target, "headers": request.headers.items(), "body": body}


botocore.auth.get_current_datetime = lambda: NOW
print(json.dumps([signed(name, *case) for name, case in CASES.items()], indent=1, ensure_ascii=False))
