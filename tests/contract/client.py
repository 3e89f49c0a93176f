"""A client that judges every answer against the model, in one protocol.

Must not know what a request is about."""

import re

import model
import wire

# Errors that any operation may answer with, and that the model does not name.
COMMON = {
    "SerializationException": 400, "UnknownOperationException": 400, "IncompleteSignatureException": 400,
    "InvalidSignatureException": 403, "MissingAuthenticationTokenException": 403, "UnrecognizedClientException": 403,
    "AccessDeniedException": 403, "RequestEntityTooLargeException": 413,
}
# What an operation answers although its model does not have it: to say that it is the input's fault would be wrong.
BESIDES = {"UpdatePipeline": {"ResourceNotFoundException": 400}}
# There are too few action types for a second page, deployments have one target; and the host asks no third party to call it.
UNREACHED = {
    "ListActionTypes": {"nextToken"}, "ListDeployActionExecutionTargets": {"nextToken"},
    "RegisterWebhookWithThirdParty": {"webhookName"},
    # A hundred builds take long.
    "ListBuilds": {"nextToken"}, "ListBuildsForProject": {"nextToken"},
}
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Report:
    def __init__(self):
        self.checks, self.defects = 0, []
        # Of each operation that succeeded, which members its inputs had.
        self.succeeded = {}

    def check(self, holds, defect):
        self.checks += 1
        if not holds and defect not in self.defects:
            self.defects.append(defect)
        return holds

    def tell(self):
        """Prints what was found; of each defect its beginning, for an answer may be in it."""
        print(f"{self.checks} checks, {len(self.defects)} defects")
        for defect in self.defects:
            print(f"- {defect[:1000]}")

    def coverage(self, offered):
        """Every operation has succeeded with all of its members, and with no more than it must have."""
        for name in offered:
            shape, inputs = model.operation(name).input_shape, self.succeeded.get(name, [])
            missed = set(shape.members) - set().union(*inputs) - UNREACHED.get(name, set())
            self.check(inputs and not missed, f"{name} never succeeded with {', '.join(sorted(missed)) or 'anything'}")
            self.check(set(shape.required_members) in inputs, f"{name} never succeeded with a minimal input")


class Client:
    def __init__(self, server, protocol, report):
        self.server, self.protocol, self.report = server, protocol, report

    def call(self, operation, params, expected=None):
        """A request as boto3 sends it. `expected`: nothing for success, a code, or some of which one is right."""
        operation_model = model.operation(operation)
        path, headers, body = wire.stock_request(self.protocol, operation_model, params)
        return self.judge(operation, self.server.signed("POST", path, headers, body), expected, params)

    def document(self, operation, document, expected=None):
        """A request that need not be one of the model."""
        return self.body(operation, self.protocol.encode(document), expected, document)

    def body(self, operation, body, expected, about):
        headers, path = self.protocol.headers(operation), self.protocol.path(operation)
        return self.judge(operation, self.server.signed("POST", path, headers, body), expected, about)

    def judge(self, operation, answer, expected, about):
        """Checks an answer, and returns its output, or its message where an error is due."""
        where = f"{self.protocol.name} {operation} {str(about)[:300]}"
        check = lambda holds, defect: self.report.check(holds, f"{where}: {defect}")
        self.headers(answer, check)
        if answer.status != 200:
            message = self.error(operation, answer, expected, check)
            return message if expected else {}
        if not check(expected is None, f"succeeded where {expected} is due"):
            return {}
        if isinstance(about, dict):
            self.report.succeeded.setdefault(operation, []).append(set(about))
        operation_model = model.operation(operation)
        if operation_model.output_shape is None:
            check(answer.body == b"", f"the operation has no output, and the body is {answer.body[:100]}")
            return {}
        try:
            output = self.protocol.decode(answer.body)
        except ValueError as error:
            check(False, f"{answer.body[:100]} is not {self.protocol.name}: {error}")
            return {}
        for problem in model.problems(operation_model.output_shape, output):
            check(False, problem)
        for problem in self.timestamps(operation_model.output_shape, output):
            check(False, problem)
        parsed = wire.stock_parse(self.protocol, answer, operation_model)
        parsed.pop("ResponseMetadata", None)
        check(parsed.keys() == output.keys(), f"boto3 reads {parsed} where the answer has {output}")
        return output

    def headers(self, answer, check):
        request_id = answer.headers.get("x-amzn-requestid", "")
        check(UUID.fullmatch(request_id), f"the request id is {request_id!r}")
        content_type = answer.headers.get("content-type")
        if self.protocol is wire.Cbor:
            echo = answer.headers.get("smithy-protocol")
            check(echo == "rpc-v2-cbor", f"smithy-protocol is {echo!r}")
        # rpc-v2-cbor: what has no body has no content type.
        due = self.protocol.content_type if answer.body or self.protocol is wire.Json else None
        check(content_type == due, f"the content type is {content_type!r}, not {due!r}")
        length = answer.headers.get("content-length")
        check(length == str(len(answer.body)), f"content-length is {length} for {len(answer.body)} bytes")

    def timestamps(self, shape, value):
        """In CBOR every timestamp has tag 1."""
        if shape.type_name == "timestamp":
            if self.protocol is wire.Cbor and not isinstance(value, model.Timestamp):
                yield f"{shape.name}: {value!r} lacks tag 1"
        elif shape.type_name == "structure" and isinstance(value, dict):
            for name, member in value.items():
                if name in shape.members:
                    yield from self.timestamps(shape.members[name], member)
        elif shape.type_name == "list" and isinstance(value, list):
            for item in value:
                yield from self.timestamps(shape.member, item)

    def error(self, operation, answer, expected, check):
        try:
            body = self.protocol.decode(answer.body)
            code, message = body["__type"], body["message"]
        except (ValueError, KeyError, TypeError) as error:
            check(False, f"the error {answer.status} {answer.body[:200]} cannot be read: {error!r}")
            return ""
        expected = (expected,) if isinstance(expected, str) else expected or ("success",)
        check(code in expected, f"{code} ({message}) where {' or '.join(expected)} is due")
        allowed = dict(COMMON)
        if operation in model.SERVICE.operation_names:
            allowed.update(model.errors_of(model.operation(operation)))
            allowed.update(BESIDES.get(operation, {}))
            parsed = wire.stock_parse(self.protocol, answer, model.operation(operation))["Error"]
            check((parsed["Code"], parsed["Message"]) == (code, message), f"boto3 reads {parsed} from {body}")
        check(allowed.get(code) == answer.status, f"{code} with status {answer.status} is no error of the operation")
        check(isinstance(message, str) and message, f"the message is {message!r}")
        check(body.keys() <= {"__type", "message"}, f"the error has more than its code and message: {body}")
        return message
