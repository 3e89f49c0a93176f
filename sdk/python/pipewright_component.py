"""The module of which a component is made: the plugin's module `plugin`, with the classes that it has.

Owns how the plugin's modules and those of its dependencies are found and what a traceback shows of them: paths as the author
has them, and the lines of the source, which is not there at run time."""

import importlib
import linecache
import sys
from importlib.machinery import FileFinder, SourceFileLoader
from types import CodeType, ModuleType


def load(folders: dict[str, str]) -> ModuleType:
    """The plugin's module. The modules in each of the folders are shown as if they were in what the folder maps to."""

    class Loader(SourceFileLoader):
        """Compiles from the source, whatever is cached beside it, so that the same sources give the same code."""

        def get_code(self, fullname: str) -> CodeType:
            path = self.get_filename(fullname)
            folder = next(folder for folder in folders if path.startswith(f"{folder}/"))
            shown = folders[folder] + path[len(folder) :]
            data = self.get_data(path)
            code: CodeType = self.source_to_code(data, shown)
            # An entry without a time is never looked up again.
            linecache.cache[shown] = (len(data), None, (self.get_source(fullname) or "").splitlines(keepends=True), shown)
            return code

    def finder(path: str) -> FileFinder:
        if not f"{path}/".startswith(tuple(f"{folder}/" for folder in folders)):
            raise ImportError(path)
        # Native code of another machine is not seen, for it cannot be in a component.
        return FileFinder(path, (Loader, [".py"]))

    sys.path_hooks.insert(0, finder)
    sys.path_importer_cache.clear()
    return importlib.import_module("plugin")


if sys.platform == "wasi":
    # The folders that componentize-py makes of its `-p`, in their order, and of the packages of `.venv`.
    _plugin = load({"/0": "src", "/1": "pipewright/python", "/2": "site-packages"})
    try:
        _modules = [importlib.import_module("pipewright.checks"), _plugin]
    except ImportError:
        # It is built for a world without that interface.
        _modules = [_plugin]
    # A class of the plugin's own goes before.
    for _module in _modules:
        globals().update({name: value for name, value in vars(_module).items() if isinstance(value, type)})
