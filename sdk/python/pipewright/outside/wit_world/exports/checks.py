"""The interface `checks` outside of a component: the names and types of the WIT, for editors and tests."""

from dataclasses import dataclass


@dataclass
class Problem:
    setting: str
    message: str
