"""The interface `types` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass
from enum import Enum


@dataclass
class NamedValue:
    name: str
    value: str


class Category(Enum):
    SOURCE = 0
    BUILD = 1
    TEST = 2
    DEPLOY = 3
    APPROVAL = 4
    INVOKE = 5
    COMPUTE = 6
    RULE = 7


class Owner(Enum):
    AWS = 0
    THIRD_PARTY = 1
    CUSTOM = 2


@dataclass
class TypeId:
    category: Category
    owner: Owner
    provider: str
    version: str


@dataclass
class Context:
    account: str
    region: str
    pipeline: str
    execution_id: str
    stage: str
    action: str
    action_execution_id: str


@dataclass
class Output:
    name: str
    files: list[str]


@dataclass
class Signal:
    kind: str
    payload: bytes


@dataclass
class Wake_Time:
    pass


@dataclass
class Wake_Signal:
    value: Signal


Wake = Wake_Time | Wake_Signal


@dataclass
class Resumption:
    continuation: bytes
    wake: Wake


@dataclass
class Request:
    action_type: TypeId
    context: Context
    settings: list[NamedValue]
    inputs: list[str]
    outputs: list[Output]
    commands: list[str]
    environment: list[NamedValue]
    output_variables: list[str]
    idempotency_key: str
    attempt: int
    resumed: Resumption | None


@dataclass
class Wait:
    until: int | None
    signal: str | None
    continuation: bytes
    summary: str | None


class FailureKind(Enum):
    JOB_FAILED = 0
    CONFIGURATION_ERROR = 1
    PERMISSION_ERROR = 2
    REVISION_OUT_OF_SYNC = 3
    REVISION_UNAVAILABLE = 4
    SYSTEM_UNAVAILABLE = 5


@dataclass
class Failure:
    kind: FailureKind
    message: str


@dataclass
class Link:
    title: str
    url: str


@dataclass
class Report:
    summary: str | None
    external_id: str | None
    variables: list[NamedValue]
    links: list[Link]
