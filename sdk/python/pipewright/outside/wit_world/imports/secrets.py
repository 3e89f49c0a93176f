"""The interface `secrets` outside of a component. A stand-in is the secret's name between marks, in whose place the fake
requests have the value."""

import base64
import re
from dataclasses import dataclass

from componentize_py_types import Err

from ..state import host

_STAND_IN = re.compile("<secret ([^>]*)>")


@dataclass
class Error_Denied:
    value: str


Error = Error_Denied


def stand_in(name: str) -> str:
    _value(name)
    return f"<secret {name}>"


def basic(user: str, name: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{_value(name)}".encode()).decode()


def reveal(name: str) -> str:
    return _value(name)


def put_into(text: str) -> str:
    """What goes out for a header value with stand-ins."""
    return _STAND_IN.sub(lambda found: _value(found[1]), text)


def _value(name: str) -> str:
    if name not in host().secrets:
        host().denials.append(f'the secret "{name}"')
        raise Err(Error_Denied(f'no grant allows the secret "{name}"'))
    return host().secrets[name]
