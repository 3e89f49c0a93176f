"""The types of every component outside of one: the same names as componentize-py gives, for editors and tests."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Some(Generic[T]):
    value: T


@dataclass
class Ok(Generic[T]):
    value: T


@dataclass(frozen=True)
class Err(Exception, Generic[T]):
    value: T
