"""Drives a running server through CodePipeline's operations in both protocols; botocore's model judges every answer.

    main.py ENDPOINT CREDENTIALS_FILE REGION ACCOUNT OPERATION…

The operations are those of the server's own table. Ends with 1, and a list of defects, where there are any."""

import configparser
import sys

import attacks
import client as clients
import model
import scenario
import wire


def broken_inputs(client, offered, invalid="ValidationException"):
    """Every constraint of every input, broken once."""
    for operation in offered:
        shape = model.operation(operation).input_shape
        for broken, is_type, at in model.breakages(shape, model.sample(shape)):
            codes = (invalid, "SerializationException") if is_type else invalid
            message = client.document(operation, broken, codes)
            place = ".".join(at)
            told = is_type or f"Value at '{place}' failed to satisfy constraint: " in message
            client.report.check(told, f"{client.protocol.name} {operation}: {place} was broken, and told is {message}")


def main():
    endpoint, credentials, region, account, *offered = sys.argv[1:]
    profile = configparser.ConfigParser()
    profile.read(credentials)
    keys = profile["default"]
    server = wire.Server(endpoint, keys["aws_access_key_id"], keys["aws_secret_access_key"], region)
    model.self_check(offered)

    report = clients.Report()
    for name in offered:
        report.check(name in model.SERVICE.operation_names, f"{name} is none of CodePipeline's operations")
    try:
        for protocol in wire.PROTOCOLS:
            client = clients.Client(server, protocol, report)
            story = scenario.Scenario(client, account, region, offered)
            story.run()
            broken_inputs(client, offered)
            attacks.every_attack(client, offered)
            story.delete()
        report.coverage(offered)
    finally:
        report.tell()
    return 1 if report.defects else 0


if __name__ == "__main__":
    sys.exit(main())
