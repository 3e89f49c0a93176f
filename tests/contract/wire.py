"""One HTTP exchange in either protocol (contract: awsJson1_1 and Smithy rpc-v2-cbor), signed by botocore's own signer.

Must not know any operation, or what an answer should be."""

import dataclasses
import http.client
import json
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.parsers
import botocore.serialize
import cbor2

import model

TIMEOUT_SECONDS = 60


def target():
    return model.SERVICE.metadata["targetPrefix"]


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclasses.dataclass
class Server:
    endpoint: str
    key: str
    secret: str
    region: str

    def sign(self, method, path, headers, body, key=None, secret=None, region=None, service=None):
        request = botocore.awsrequest.AWSRequest(method, self.endpoint + path, headers=headers, data=body)
        credentials = botocore.credentials.Credentials(key or self.key, secret or self.secret)
        botocore.auth.SigV4Auth(credentials, service or model.SERVICE.service_name, region or self.region).add_auth(request)
        return dict(request.headers.items())

    def send(self, method, path, headers, body):
        """The request as it is, signed or not."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.endpoint).netloc, timeout=TIMEOUT_SECONDS)
        try:
            try:
                connection.request(method, path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                # It may answer before it has read what it will not take.
                pass
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def signed(self, method, path, headers, body, **scope):
        return self.send(method, path, self.sign(method, path, headers, body, **scope), body)


class Json:
    name = "json"
    content_type = "application/x-amz-json-1.1"

    @staticmethod
    def headers(operation):
        return {"Content-Type": Json.content_type, "X-Amz-Target": f"{target()}.{operation}"}

    @staticmethod
    def path(_operation):
        return "/"

    @staticmethod
    def encode(document):
        return json.dumps(document).encode()

    @staticmethod
    def decode(body):
        return json.loads(body, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))


class Cbor:
    name = "smithy-rpc-v2-cbor"
    content_type = "application/cbor"

    @staticmethod
    def headers(_operation):
        return {"Content-Type": Cbor.content_type, "Accept": Cbor.content_type, "Smithy-Protocol": "rpc-v2-cbor"}

    @staticmethod
    def path(operation):
        return f"/service/{target()}/operation/{operation}"

    @staticmethod
    def encode(document):
        return cbor2.dumps(document)

    @staticmethod
    def decode(body):
        timestamp = lambda seconds, *_: model.Timestamp(seconds)
        return cbor2.loads(body, semantic_decoders={1: timestamp}, allow_duplicate_keys=False)


PROTOCOLS = [Json, Cbor]


def stock_request(protocol, operation_model, params):
    """Path, headers and body as boto3 would send them."""
    request = botocore.serialize.create_serializer(protocol.name).serialize_to_request(params, operation_model)
    return request["url_path"], dict(request["headers"]), request["body"]


def stock_parse(protocol, answer, operation_model):
    """What boto3 would make of an answer."""
    parser = botocore.parsers.create_parser(protocol.name)
    headers = botocore.awsrequest.HeadersDict(answer.headers.items())
    response = {"status_code": answer.status, "headers": headers, "body": answer.body}
    return parser.parse(response, operation_model.output_shape)
