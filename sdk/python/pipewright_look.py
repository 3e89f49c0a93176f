"""A look at a plugin before it is built: whether what is installed is what it wants, and whether its module can be imported.
Says what is wrong in Python's own words, and takes a fraction of a second.

    python -I -S -B -c 'import sys; sys.path.append("pipewright/python"); import pipewright_look; pipewright_look.main()' \\
        build-plugin

in the plugin's folder. The second argument, the plugin's world, tells which classes the module must have. Only the standard
library, `src` and what is installed in `.venv` are seen, as in the component.

Must not know anything of WebAssembly, nor write a file: it runs at every change of a source."""

import importlib.metadata
import os
import re
import sys
import traceback
from pathlib import Path

PYTHON_MIN = (3, 11)
LOCK = "requirements.txt"


def main() -> None:
    if sys.version_info < PYTHON_MIN:
        sys.exit(f"this is Python {sys.version.split()[0]}; the plugin needs Python 3.11 or newer")
    from pipewright_component import load

    folder = Path.cwd()
    packages = next(iter(sorted(folder.glob(".venv/lib/python3*/site-packages"))), None)
    locked = locks(folder)
    if problem := unlike_wanted(folder, packages, locked):
        sys.exit(problem)
    roots = {str(folder / "src"): "src", str(folder / "pipewright/python"): "pipewright/python"}
    if packages:
        roots[str(packages)] = str(packages.relative_to(folder))
    # After the standard library, as in the component, and by their whole paths alone.
    sys.path[:] = [path for path in sys.path if os.path.isabs(path)] + [*roots]
    before = {*sys.modules}
    try:
        module = load(roots)
    except BaseException as error:
        show(error)
        sys.exit(1)
    category = sys.argv[1].removesuffix("-plugin").capitalize()
    for name in ("Plugin", category):
        if not isinstance(vars(module).get(name), type):
            sys.exit(
                f"src/plugin.py has no class `{name}`; the world `{sys.argv[1]}` of pyproject.toml wants one: "
                f"`Plugin, {category} = pipewright.plugin(…)`"
            )
    if problem := unlike_said(folder, module.Plugin().describe().version):
        sys.exit(problem)
    if packages:
        for name, version in bundled(packages, {*sys.modules} - before):
            if locked.get(key(name)) != version:
                sys.exit(f"src/ imports {name} {version} of .venv, which {LOCK} does not lock; README.md says how to make it")
            print(f"bundles {name} {version}", file=sys.stderr)


def show(error: BaseException) -> None:
    """Python's own traceback, from the author's first line on."""
    trace = error.__traceback__
    while trace and not trace.tb_frame.f_code.co_filename.startswith("src/"):
        trace = trace.tb_next
    told = traceback.TracebackException(type(error), error, trace)
    # What the layer refuses is a mistake of the line that calls it.
    while len(told.stack) > 1 and told.stack[-1].filename.startswith("pipewright/python/"):
        del told.stack[-1]
    print("".join(told.format()), end="", file=sys.stderr)
    if isinstance(error, ModuleNotFoundError):
        print("Only the standard library, src/ and what is installed in .venv can be imported.", file=sys.stderr)
    if isinstance(error, SystemExit):
        print("A plugin's module must not end the program: the host calls it later.", file=sys.stderr)


def locks(folder: Path) -> "dict[str, str]":
    """The version of each package that the lock has; what it has for some machines alone is left out."""
    text = (folder / LOCK).read_text(encoding="utf-8") if (folder / LOCK).is_file() else ""
    found = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?\s*==\s*([^\s;\\]+)(?!\s*;)", text, re.M)
    return {key(name): version for name, version in found}


def unlike_wanted(folder: Path, packages: "Path | None", locked: "dict[str, str]") -> "str | None":
    """What is wrong with the packages of a folder: what is installed, what `pyproject.toml` wants and what is locked must
    agree. Pip itself compares the hashes of a lock."""
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    wanted = project.get("dependencies", [])
    if not wanted:
        return None
    if packages is None:
        return "pyproject.toml has dependencies, and there is no .venv that holds them; README.md says how to make it"
    installed = {key(found.name): found.version for found in importlib.metadata.distributions(path=[str(packages)])}
    for name, version in locked.items():
        if installed.get(name) != version:
            has = f"has {installed[name]}" if name in installed else "has none"
            return f"{LOCK} locks {name}=={version}, and .venv {has}: .venv/bin/pip install -r {LOCK}"
    for text in wanted:
        [(name, limits)] = re.findall(r"^([\w.-]+)\s*(?:\[[^]]*\])?\s*([^;]*)", text)
        if ";" in text:
            continue  # For some machines alone.
        if key(name) not in locked:
            return f"pyproject.toml wants {text}, and {LOCK} does not lock it; README.md says how to make it"
        if not satisfies(locked[key(name)], limits, packages):
            return f"pyproject.toml wants {text}, and {LOCK} locks {locked[key(name)]}; README.md says how to make it"
    return None


def unlike_said(folder: Path, version: str) -> "str | None":
    """What is wrong with the version that the plugin says: whoever raised one of the two would publish the other."""
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    if (promised := project.get("version", version)) == version:
        return None
    return f"pyproject.toml: the manifest has the version {promised}, and the plugin says {version}; make them the same"


def satisfies(version: str, limits: str, packages: Path) -> bool:
    """Whether a version is within what a dependency wants; pip, which is in every `.venv` that `python3 -m venv` made, knows.
    Where it is not, whoever made the lock is believed."""
    sys.path.append(str(packages))
    try:
        from pip._vendor.packaging.specifiers import SpecifierSet
    except ImportError:
        return True
    finally:
        sys.path.remove(str(packages))
    return SpecifierSet(limits.strip("() ")).contains(version, prereleases=True)


def bundled(packages: Path, modules: "set[str]") -> "list[tuple[str, str]]":
    """The installed packages that these modules are of, each with its version: they are in the component."""
    files = [getattr(sys.modules[name], "__file__", None) or "" for name in modules]
    loaded = {os.path.relpath(file, packages) for file in files if Path(file).is_relative_to(packages)}
    if not loaded:
        return []
    found = importlib.metadata.distributions(path=[str(packages)])
    return sorted((one.name, one.version) for one in found if loaded & {str(file) for file in one.files or ()})


def key(name: str) -> str:
    """Names of packages are the same whatever separates their words."""
    return re.sub(r"[-_.]+", "-", name).lower()
