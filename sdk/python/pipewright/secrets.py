"""Secrets by name. A plugin holds a stand-in, and the host puts the value in its place in header values of requests to the
hosts that the secret was granted for. Each call fails with *permission* where no grant allows it, and names the grant that
would."""

from wit_world.imports import secrets as host

from ._checked import taking
from .failure import from_host

__all__ = ["basic", "reveal", "stand_in"]


@taking
def stand_in(name: str) -> str:
    """A text to put into a header value as it is, e.g. after `Bearer `; it means nothing anywhere else."""
    with from_host():
        return host.stand_in(name)


@taking
def basic(user: str, name: str) -> str:
    """The whole value of an `Authorization` header for basic authentication, with the secret as password."""
    with from_host():
        return host.basic(user, name)


@taking
def reveal(name: str) -> str:
    """The value itself: a capability of its own, for which the plugin asks with `reveal-secret`."""
    with from_host():
        return host.reveal(name)
