"""Prints what a package offers as Markdown: the public names of its `__init__`, each with signature, docstring and the `#:`
comments of its attributes. Reads the sources, and imports nothing."""

import ast
import inspect
import sys
from pathlib import Path

PACKAGE = Path(sys.argv[1])
LINE_CHARS_MAX = 110
# Decorators that say how something is used.
SHOWN = {"property", "classmethod", "staticmethod", "cached_property", "overload"}


class Module:
    def __init__(self, path):
        self.text = path.read_text()
        self.lines = self.text.splitlines()
        self.tree = ast.parse(self.text)
        self.about = ast.get_docstring(self.tree) or ""
        #: What stands in the file by name, in its order; of several of one name (overloads) all.
        self.items = {}
        #: Where names come from that it imports from beside it.
        self.imported = {}
        self.all = None
        for node in self.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self.items.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ImportFrom) and node.level == 1:
                for name in node.names:
                    self.imported[name.asname or name.name] = (node.module, name.name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id == "__all__":
                    self.all = ast.literal_eval(node.value)
                elif self.comment(node):
                    self.items.setdefault(node.targets[0].id, []).append(node)

    def public(self):
        if self.all is not None:
            return self.all
        return [name for name in self.items if not name.startswith("_")]

    def comment(self, node):
        """The lines with `#:` above a statement."""
        at, found = node.lineno - 2, []
        while at >= 0 and self.lines[at].strip().startswith("#:"):
            found.insert(0, self.lines[at].strip()[2:].strip())
            at -= 1
        return " ".join(found)


def documented(text):
    """A docstring, its indented examples as blocks of code."""
    lines, page, code = inspect.cleandoc(text).splitlines(), [], []
    for line in [*lines, "."]:
        if line.startswith("    ") or (code and not line.strip()):
            code.append(line)
            continue
        if code:
            page += ["```python", inspect.cleandoc("\n".join(["", *code])).rstrip(), "```", ""]
            code = []
        page.append(line)
    return "\n".join(page[:-1]).strip()


def signature(node):
    decorators = [f"@{ast.unparse(it)}\n" for it in node.decorator_list if ast.unparse(it) in SHOWN]
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    parts = arguments(node.args)
    line = f"{word} {node.name}({', '.join(parts)}){returns}"
    if len(line) > LINE_CHARS_MAX:
        line = f"{word} {node.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"
    return "".join(decorators) + line


def arguments(args):
    """Each argument as it is written."""
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    parts = [given(one, default) for one, default in zip(plain, defaults)]
    if args.vararg:
        parts.append("*" + given(args.vararg, None))
    elif args.kwonlyargs:
        parts.append("*")
    parts += [given(one, default) for one, default in zip(args.kwonlyargs, args.kw_defaults)]
    return parts + (["**" + given(args.kwarg, None)] if args.kwarg else [])


def given(arg, default):
    text = arg.arg + (f": {ast.unparse(arg.annotation)}" if arg.annotation else "")
    return text if default is None else f"{text} = {ast.unparse(default)}"


def block(text):
    print(f"```python\n{text}\n```\n")


def about(text):
    if text:
        print(documented(text) + "\n")


def attributes(module, node):
    """The public attributes of a class, with what is said above each: of its body, and of `__init__`."""
    for it in node.body:
        if isinstance(it, ast.AnnAssign) and not it.target.id.startswith("_") and "ClassVar" not in ast.unparse(it.annotation):
            # How a default is made is nobody's business.
            value = "" if it.value is None or isinstance(it.value, ast.Call) else f" = {ast.unparse(it.value)}"
            yield f"{it.target.id}: {ast.unparse(it.annotation)}{value}", module.comment(it)
        elif isinstance(it, ast.Assign) and isinstance(it.targets[0], ast.Name) and not it.targets[0].id.startswith("_"):
            yield ast.unparse(it), module.comment(it)
        elif isinstance(it, ast.FunctionDef) and it.name == "__init__":
            for line in ast.walk(it):
                target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
                if isinstance(target, ast.Attribute) and not target.attr.startswith("_") and module.comment(line):
                    yield target.attr, module.comment(line)


def told(module, name, heading):
    print(f"{heading} {name}\n")
    if name not in module.items:
        print("A record of the interface (`wit/plugin.wit`).\n")
    for node in module.items.get(name, []):
        if isinstance(node, ast.Assign):
            block(ast.unparse(node))
            about(module.comment(node))
        elif isinstance(node, ast.ClassDef):
            klass(module, node)
        else:
            block(signature(node))
            about(ast.get_docstring(node, clean=False) or "")


def klass(module, node):
    bases = [ast.unparse(base) for base in node.bases if not ast.unparse(base).startswith("_")]
    block(f"class {node.name}" + (f"({', '.join(bases)})" if bases else ""))
    about(ast.get_docstring(node, clean=False) or "")
    # What several have from a class of the layer's own is theirs.
    shared = [it for base in node.bases for it in module.items.get(ast.unparse(base), []) if it.name.startswith("_")]
    rows = [row for it in [*shared, node] for row in attributes(module, it)]
    if rows:
        print("| attribute | what it is |\n|---|---|")
        for text, comment in rows:
            print("| `{}` | {} |".format(text.replace("|", "\\|"), comment.replace("|", "\\|")))
        print()
    for it in [it for of in [*shared, node] for it in of.body if of is node or it_is_public(it)]:
        # What takes records of the interface is made by the layer alone.
        if isinstance(it, ast.FunctionDef) and it.name == "__init__" and "types." not in ast.unparse(it.args):
            block(signature(it))
        if isinstance(it, (ast.FunctionDef, ast.AsyncFunctionDef)) and not it.name.startswith("_"):
            # What has no docstring is the layer's own.
            if ast.get_docstring(it):
                block(signature(it))
                about(ast.get_docstring(it, clean=False))


def it_is_public(it):
    return not getattr(it, "name", "_").startswith("_")


def modules(package):
    """Those that authors import: of `__all__`, and the one for tests, which is not in a component."""
    names = [name for name in package.public() if (PACKAGE / f"{name}.py").is_file() and name in package.imported]
    return names + [name for name in ("testing",) if (PACKAGE / f"{name}.py").is_file()]


def origin(module, name):
    """Where a name that a module imports is defined."""
    while name not in module.items and name in module.imported:
        path, name = module.imported[name]
        module = Module(PACKAGE / f"{path}.py")
    return module, name


def main():
    package = Module(PACKAGE / "__init__.py")
    about(package.about)
    apart = modules(package)
    for name in package.public():
        if name in apart:
            continue
        if name in package.items:
            told(package, name, "##")
            continue
        module, own = origin(package, name)
        told(module, own, "##")
    for name in apart:
        module = Module(PACKAGE / f"{name}.py")
        print(f"## The module {name}\n")
        about(module.about)
        for own in module.public():
            told(*origin(module, own), "###")


main()
