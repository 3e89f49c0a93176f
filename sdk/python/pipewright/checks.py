"""What is wrong with an action's settings, told when a pipeline is made and not only when the action runs. For components: an author
calls nothing of it."""

from wit_world.exports import checks as abi
from wit_world.imports import pipewright_plugin_types as types

from .declare import OFFERED

__all__ = ["Checks"]


class Checks:
    """The interface of that name."""

    def check(self, action_type: types.TypeId, settings: list[types.NamedValue]) -> list[abi.Problem]:
        """By the types of the settings alone; the host gives no secret ones."""
        given = {setting.name: setting.value for setting in settings}
        return [
            abi.Problem(declared.abi.name, wrong)
            for definition in OFFERED
            if definition.abi.id.category is action_type.category and definition.serves(action_type)
            for declared in definition.declared
            if declared.abi.name in given and (wrong := declared.wrong(given[declared.abi.name]))
        ]
