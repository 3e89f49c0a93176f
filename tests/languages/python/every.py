"""One plugin of several: each part is a module for which `pipewright.plugin` made classes, and serves its own action types."""

from types import ModuleType

import parts
from wit_world.exports import plugin as abi

MODULES = [part for part in vars(parts).values() if isinstance(part, ModuleType)]


def serving(category, request):
    """The class of the part that offers what a request is for."""
    for module in MODULES:
        for offered in module.Plugin().describe().action_types:
            if (offered.id.category.name.capitalize(), offered.id.provider) == (category, request.action_type.provider):
                return getattr(module, category)()


def of_category(category):
    def method(name):
        return lambda _, request, *revision: getattr(serving(category, request), name)(request, *revision)

    names = ("latest", "fetch") if category == "Source" else ("run",)
    return type(category, (), {name: method(name) for name in names})


class Plugin:
    def describe(self):
        described = [module.Plugin().describe() for module in MODULES]
        return abi.Description(
            name="acme/all",
            version="0.1.0",
            documentation="",
            action_types=[offered for one in described for offered in one.action_types],
            asks=[ask for one in described for ask in one.asks],
            may_run_again=True,
        )


CATEGORIES = ("Source", "Build", "Test", "Deploy", "Approval", "Invoke", "Rule")
Source, Build, Test, Deploy, Approval, Invoke, Rule = map(of_category, CATEGORIES)
# Of the world `every-plugin`.
Every = Plugin
