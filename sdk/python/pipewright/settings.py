"""Typed settings over CodePipeline's string maps: the fields of a dataclass."""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from wit_world.exports import plugin as abi

from .failure import Failure

ALLOWED = (
    "a setting is made by `setting(…)`, and is a `str`, `int`, `float`, `bool`, `list[str]`, a `Literal` of texts, or one of these "
    "`| None`"
)


def setting(
    documentation: str, *, default: Any = dataclasses.MISSING, secret: bool = False, name: str | None = None
) -> Any:
    """A field of a settings dataclass. Its type is `str`, `int`, `float`, `bool`, `list[str]`, a `Literal` of texts, or one
    of these `| None`, which need not be given.

    The field's name in PascalCase is the key in the action's configuration, or `name`. A secret one is masked whenever it
    is read back.
    """
    metadata = {"documentation": documentation, "default": default, "secret": secret, "name": name}
    if isinstance(default, list):
        return dataclasses.field(default_factory=default.copy, kw_only=True, metadata=metadata)
    return dataclasses.field(default=default, kw_only=True, metadata=metadata)


@dataclasses.dataclass
class Declared:
    """One setting, as the dataclass declares it."""

    attribute: str
    type: Any
    required: bool
    abi: abi.Setting

    def parse(self, text: str) -> Any:
        if wrong := self.wrong(text):
            raise Failure.configuration(f"setting `{self.abi.name}` {wrong}; correct it in the action's configuration")
        return _parse(self.type, text)

    def wrong(self, text: str) -> str | None:
        """What is wrong with a text, to follow the setting's name."""
        if _parse(self.type, text) is not None:
            return None
        return f"must be {_must_be(self.type)}, and is {'another value' if self.abi.secret else f'`{text}`'}"


def declared(settings: type | None) -> list[Declared]:
    """What a settings dataclass declares; a mistake in it shows when the plugin is built."""
    if settings is None:
        return []
    if not dataclasses.is_dataclass(settings):
        raise TypeError(f"{settings.__name__} must be a dataclass whose fields are made by `setting(…)`")
    hints = typing.get_type_hints(settings)
    fields = dataclasses.fields(settings)
    # All at once, for each costs the author a build.
    if problems := [problem for field in fields for problem in _problems(field, hints[field.name])]:
        raise TypeError(f"the settings of `{settings.__name__}`: {'; '.join(problems)}; {ALLOWED}")
    return [_declared(field, hints[field.name]) for field in fields]


def _problems(field: dataclasses.Field[Any], hint: Any) -> Iterable[str]:
    """What is wrong with the declaration of a setting."""
    base, _ = _without_none(hint)
    if "documentation" not in field.metadata:
        yield f"`{field.name}` is not made by `setting(…)`"
        return
    if _kind(base) is None:
        yield f"the setting `{field.name}` cannot be of the type `{_shown(hint)}`"
        return
    default = field.metadata["default"]
    if default is not dataclasses.MISSING and default is not None and _parse(base, text(default)) is None:
        yield f"the default of `{field.name}` must be {_must_be(base)}, and is {default!r}"


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def read(settings: type, all_declared: Iterable[Declared], given: Mapping[str, str]) -> Any:
    """The settings of one run. Those with a default or `| None` may be missing."""
    values, problems = {}, []
    for one in all_declared:
        if one.abi.name in given:
            try:
                values[one.attribute] = one.parse(given[one.abi.name])
            except Failure as failure:
                problems.append(failure.message)
        elif one.abi.required:
            problems.append(f"setting `{one.abi.name}` is missing; add it to the action's configuration")
        elif one.abi.default is None:
            values[one.attribute] = None
    if problems:
        # All at once, for each costs its reader an execution.
        raise Failure.configuration("\n".join(problems))
    return settings(**values)


def text(value: Any) -> str:
    """A value in the configuration's own text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, list) else str(value)


def _declared(field: dataclasses.Field[Any], hint: Any) -> Declared:
    base, optional = _without_none(hint)
    kind = _kind(base)
    assert kind is not None
    default = field.metadata["default"]
    has_default = default is not dataclasses.MISSING and default is not None
    return Declared(
        attribute=field.name,
        type=base,
        required=not optional and not has_default,
        abi=abi.Setting(
            name=field.metadata["name"] or "".join(word[:1].upper() + word[1:] for word in field.name.split("_")),
            kind=kind,
            required=not optional and not has_default,
            secret=field.metadata["secret"],
            default=text(default) if has_default else None,
            choices=list(typing.get_args(base)) if typing.get_origin(base) is typing.Literal else [],
            documentation=field.metadata["documentation"],
        ),
    )


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    rest = [one for one in typing.get_args(hint) if one is not type(None)]
    return (rest[0], True) if len(rest) == 1 else (hint, False)


def _kind(base: Any) -> abi.SettingKind | None:
    if typing.get_origin(base) is typing.Literal:
        return abi.SettingKind.TEXT if all(isinstance(one, str) for one in typing.get_args(base)) else None
    kinds = {
        str: abi.SettingKind.TEXT,
        int: abi.SettingKind.NUMBER,
        float: abi.SettingKind.NUMBER,
        bool: abi.SettingKind.BOOLEAN,
    }
    return abi.SettingKind.LIST if base == list[str] else kinds.get(base)


def _parse(base: Any, text: str) -> Any:
    """The value, or None for a text that is of another type."""
    if typing.get_origin(base) is typing.Literal:
        return text if text in typing.get_args(base) else None
    if base is bool:
        return {"true": True, "false": False}.get(text)
    if base is int:
        return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
    if base is float:
        try:
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    if base is str:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def _must_be(base: Any) -> str:
    if typing.get_origin(base) is typing.Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in typing.get_args(base))
    names = {bool: "`true` or `false`", int: "a whole number", float: "a number", str: "a text"}
    return names.get(base, 'a JSON array of strings, like `["a", "b"]`')
