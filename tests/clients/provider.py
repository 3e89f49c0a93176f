"""What is the same for every resource of Terraform's provider.

Owns how a plan compares and how the provider's client is made. Must not know any resource."""

import configparser

import boto3


def plan(configuration, state):
    """The arguments that a plan would change."""
    return sorted(name for name in configuration if configuration[name] != state.get(name))


def client_of(service, endpoint, credentials):
    key = configparser.ConfigParser()
    key.read(credentials)
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=endpoint,
        aws_access_key_id=key["default"]["aws_access_key_id"],
        aws_secret_access_key=key["default"]["aws_secret_access_key"],
    )
