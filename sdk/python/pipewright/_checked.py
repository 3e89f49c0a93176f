"""Whether the records that an author makes have what their classes say, and what is given to a function of the layer what its
parameters say.

A component cannot hand anything else to the host: it would crash there, with no word of the property. Must not know what
they are for."""

import dataclasses
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# What the WIT has for whole numbers; lines and seconds count from 1 on.
WHOLE = (0, 2**64 - 1)
POSITIVE = (1, 2**32 - 1)
POSITIVES = (".line", ".wall_seconds")
# Nothing waits for what was.
TIMES = ("Wait.seconds",)
# 31 years, in nanoseconds well within 64 bits.
SECONDS_MAX = 1_000_000_000


def checked(record: Any, where: str | None = None) -> None:
    """Raises a `TypeError` that names the property, what it must be and what it is. Iterables become lists, so that they can be read
    more than once."""
    where = where or type(record).__name__
    hints = typing.get_type_hints(type(record))
    for field in dataclasses.fields(record):
        given = getattr(record, field.name)
        value = _value(f"{where}.{field.name}", given, hints[field.name])
        if value is not given:
            setattr(record, field.name, value)


def taking(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with what it is given checked by its annotations before anything is done."""
    signature = inspect.signature(function)
    where = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @functools.wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> R:
        bound = signature.bind(*given, **named)
        for name, value in bound.arguments.items():
            bound.arguments[name] = _value(f"{where}.{name}", value, hints().get(name, Any))
        return function(*bound.args, **bound.kwargs)

    @functools.cache
    def hints() -> dict[str, Any]:
        return typing.get_type_hints(function)

    return call


def _value(where: str, value: Any, hint: Any) -> Any:
    """The value, if it is of the type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        choices = [one for one in arguments if one is not types.NoneType]
        if len(choices) > 1:
            return _any_of(where, value, choices)
        return _value(where, value, choices[0])
    if origin is Iterable:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise _wrong(where, value, f"some of {arguments[0].__name__}")
        return [_value(f"{where}[{index}]", one, arguments[0]) for index, one in enumerate(value)]
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "a dict of values by their names")
        for name, one in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a name in `{where}` must be a str, and is {_shown(name)}")
            if arguments[1] is Any:
                _variable(f"{where}[{name!r}]", one)
            else:
                _value(f"{where}[{name!r}]", one, arguments[1])
        return value
    if origin is tuple:
        if not isinstance(value, (tuple, list)) or len(value) != len(arguments):
            raise _wrong(where, value, f"a tuple of {len(arguments)} numbers")
        return tuple(_value(f"{where}[{index}]", one, arguments[index]) for index, one in enumerate(value))
    if origin is typing.Literal:
        if value not in arguments:
            raise _wrong(where, value, "one of " + ", ".join(f"`{one}`" for one in arguments))
        return value
    if hint is not Any and not _is(where, value, hint):
        raise _wrong(where, value, _named(where, hint))
    if dataclasses.is_dataclass(hint):
        checked(value, where)
    return value


def _any_of(where: str, value: Any, choices: list[Any]) -> Any:
    """The value, if it is of one of these types. What can be read only once is not looked into."""
    kinds = [typing.get_origin(one) or one for one in choices]
    if not any(_is(where, value, kind) for kind in kinds):
        raise _wrong(where, value, " or ".join(_named(where, kind) for kind in kinds))
    if dataclasses.is_dataclass(value):
        checked(value, where)
    return value


def _is(where: str, value: Any, hint: Any) -> bool:
    if hint is int:
        least, most = POSITIVE if where.endswith(POSITIVES) else WHOLE
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    if hint is float:
        least = 0 if where.endswith(TIMES) else -SECONDS_MAX
        return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= SECONDS_MAX
    return isinstance(value, hint) and (hint is not str or _is_unicode(value))


def _variable(where: str, value: Any) -> None:
    is_number = isinstance(value, int) or isinstance(value, float) and math.isfinite(value)
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    if not (value is None or is_number or is_list or isinstance(value, str) and _is_unicode(value)):
        raise _wrong(where, value, "a str, a number, a bool, a list of str, or None")


def _is_unicode(text: str) -> bool:
    """Half of a surrogate pair is none."""
    return not any("\ud800" <= one <= "\udfff" for one in text)


def _named(where: str, hint: Any) -> str:
    if hint is float:
        return f"a number {'from 0 to' if where.endswith(TIMES) else 'of at most'} {SECONDS_MAX:,}"
    if hint is int:
        return f"a whole number, at least {1 if where.endswith(POSITIVES) else 0}"
    return with_article(hint.__name__)


def with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOaeio' else 'a'} {name}"


def _wrong(where: str, value: Any, must_be: str) -> TypeError:
    return TypeError(f"`{where}` must be {must_be}, and is {_shown(value)}")


def _shown(value: Any) -> str:
    shown = repr(value)
    return f"{shown if len(shown) <= 100 else shown[:100] + '…'} (of the type {type(value).__name__})"
