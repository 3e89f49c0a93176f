"""Asks a running server who asks, as boto3 does, and for each other operation of STS: botocore's model judges the answers.

    sts.py ENDPOINT CREDENTIALS_FILE REGION ACCOUNT OPERATION…

The operations are those of the server's own table. Ends with 1, and a list of defects, where there are any."""

import configparser
import re
import sys

import boto3
import botocore
import botocore.config
import botocore.exceptions

import client as clients
import model


def refused(client, name):
    """The code and the status of what an operation is answered with."""
    try:
        getattr(client, botocore.xform_name(name))()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "OK", 200


def main():
    endpoint, credentials, region, account, *offered = sys.argv[1:]
    profile = configparser.ConfigParser()
    profile.read(credentials)
    key, secret = (profile["default"][name] for name in ("aws_access_key_id", "aws_secret_access_key"))

    def client_of(key=key, secret=secret, region=region):
        # What is refused by its name has no input.
        config = botocore.config.Config(parameter_validation=False)
        return boto3.client(
            "sts", region_name=region, endpoint_url=endpoint, config=config, aws_access_key_id=key,
            aws_secret_access_key=secret)

    model.speak("sts")
    report, client = clients.Report(), client_of()
    for name in offered:
        report.check(name in model.SERVICE.operation_names, f"{name} is none of STS's operations")
    for _ in range(2):
        answer = client.get_caller_identity()
        request = answer.pop("ResponseMetadata")["RequestId"]
        problems = list(model.problems(model.operation("GetCallerIdentity").output_shape, answer))
        report.check(not problems, f"{problems}")
        report.check(clients.UUID.fullmatch(request), f"{request} is no id of a request")
        wanted = {"Account": account, "Arn": f"arn:aws:iam::{account}:user/administrator"}
        report.check(answer == {**wanted, "UserId": answer["UserId"]}, f"{answer}")
        report.check(re.fullmatch("AIDA[A-Z0-9]{16}", answer["UserId"]), f"{answer['UserId']} is no id of a user")
    report.check(answer["UserId"] == client.get_caller_identity()["UserId"], "a user's id changed")

    for name in model.SERVICE.operation_names:
        if name not in offered:
            unsigned = model.operation(name).auth_type == "none"
            wanted = ("MissingAuthenticationToken", 403) if unsigned else ("InvalidAction", 400)
            told = refused(client, name)
            report.check(told == wanted, f"{name} is answered with {told}, not {wanted}")
    for code, asked in [
        ("InvalidClientTokenId", {"key": "AKIDUNKNOWN"}), ("SignatureDoesNotMatch", {"secret": "wrong"}),
        ("SignatureDoesNotMatch", {"region": "eu-west-1"}),
    ]:
        told = refused(client_of(**asked), "GetCallerIdentity")
        report.check(told == (code, 403), f"{asked} is answered with {told}, not {code}")
    report.tell()
    return 1 if report.defects else 0


if __name__ == "__main__":
    sys.exit(main())
