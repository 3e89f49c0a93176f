"""Deploys through a service's HTTP API."""

from dataclasses import dataclass
from typing import Any

import pipewright
from pipewright import Action, Deployed, Failure, Link, Report, Target, Wait, ask, deploy, files, http, secrets, setting


@dataclass
class Settings:
    url: str = setting("Where deployments are made, like `https://api.example.com/deployments`.")
    token: str = setting("The name of the secret with the service's token.", default="token")


@deploy("{{provider}}", inputs=1, variables={"DeploymentId": "The service's id of the deployment."})
def run(action: Action, settings: Settings) -> Deployed | Wait:
    """Tells a service which files to deploy, and waits until it has."""
    if not settings.url.startswith(("https://", "http://")):
        raise Failure.configuration("`Url` must begin with https:// or http://; correct it in the action's configuration")
    if action.resumed is None:
        entries = [entry for entry in files.list(action.input) if entry.kind is files.FileKind.FILE]
        digests = {entry.path: files.digest(action.input / entry.path) for entry in entries}
        deployment = call(action, settings, "POST", settings.url, {"files": digests})
    else:
        deployment = call(action, settings, "GET", f"{settings.url}/{action.resumed.continuation['id']}")
    match deployment["status"]:
        case "running":
            return Wait(seconds=10, continuation={"id": deployment["id"]}, summary="the service is deploying")
        case "done":
            report = Report(
                f"deployed as {deployment['id']}",
                variables={"DeploymentId": deployment["id"]},
                links=[Link("Deployment", deployment["url"])],
                external_id=deployment["id"],
            )
            return Deployed(report, [Target(deployment["url"], "service", url=deployment["url"])])
        case status:
            raise Failure(f"the deployment {deployment['id']} is {status}")


def call(action: Action, settings: Settings, method: str, url: str, json: Any = None) -> Any:
    """One request; a second attempt at the action has the same key, so that the service deploys once."""
    headers = {
        "authorization": f"Bearer {secrets.stand_in(settings.token)}",
        "idempotency-key": action.idempotency_key,
    }
    return http.request(method, url, headers=headers, json=json).raise_for_status().json()


Plugin, Deploy = pipewright.plugin(
    "{{plugin}}",
    "0.1.0",
    [run],
    documentation="{{description}}",
    asks=[
        ask("http", "*", reason="to call the service at `Url`"),
        ask("secret", "Token", reason="to sign in there"),
    ],
)
