"""The interface `plugin` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass
from enum import Enum

from ..imports import pipewright_plugin_types


class SettingKind(Enum):
    TEXT = 0
    NUMBER = 1
    BOOLEAN = 2
    LIST = 3


@dataclass
class Setting:
    name: str
    kind: SettingKind
    required: bool
    secret: bool
    default: str | None
    choices: list[str]
    documentation: str


@dataclass
class Count:
    min: int
    max: int


@dataclass
class Variable:
    name: str
    documentation: str


@dataclass
class ActionType:
    id: pipewright_plugin_types.TypeId
    settings: list[Setting]
    inputs: Count
    outputs: Count
    variables: list[Variable]
    documentation: str


@dataclass
class Capability_Http:
    value: str


@dataclass
class Capability_ReadDirectory:
    value: str


@dataclass
class Capability_WriteDirectory:
    value: str


@dataclass
class Capability_Secret:
    value: str


@dataclass
class Capability_RevealSecret:
    value: str


@dataclass
class Capability_Clock:
    pass


@dataclass
class Capability_Randomness:
    pass


@dataclass
class Capability_Commands:
    pass


@dataclass
class Capability_Caches:
    pass


Capability = (
    Capability_Http
    | Capability_ReadDirectory
    | Capability_WriteDirectory
    | Capability_Secret
    | Capability_RevealSecret
    | Capability_Clock
    | Capability_Randomness
    | Capability_Commands
    | Capability_Caches
)


@dataclass
class Ask:
    capability: Capability
    reason: str


@dataclass
class Description:
    name: str
    version: str
    documentation: str
    action_types: list[ActionType]
    asks: list[Ask]
    may_run_again: bool
