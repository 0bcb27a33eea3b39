"""A digest of the code that determines a run's figures."""

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "recbole_missrec"
# Beside the model: what prepares its data and trains it. What reads options is left out, since its
# effect is in the options; what reports, since it changes no figure.
ALWAYS = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        *("data.dataset", "data.loaders", "data.rows", "trainer.trainer"),
        *("trainer.freezing", "trainer.lora", "trainer.transfer"),
    )
)
# These find, write and say things.
APART = {f"{PACKAGE}.{name}" for name in ("data.locate", "errors", "files", "machine", "paths")}


@cache
def code_digest(module: str | None) -> str:
    """Digest of the code of a model and its training, without comments and docstrings.

    Args:
        module: of the model; None if it is one of RecBole's, which the version of RecBole names.

    Returns:
        SHA-256 over the syntax trees of the modules of this project that are imported, directly or
        through others.
    """
    found: dict[str, str] = {}
    waiting = [*ALWAYS, *([module] if module else [])]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in APART:
            tree = _syntax(name)
            found[name] = ast.dump(tree)
            waiting += _imports(tree)
    text = "\n".join(f"{name} {found[name]}" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()


def _syntax(module: str) -> ast.Module:
    """Syntax tree of a module without docstrings."""
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", [])
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            del body[0]
    return tree


def _imports(tree: ast.Module) -> list[str]:
    """Modules of this project that a module imports, in functions too, but not for types alone."""
    found: list[str] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found += [f"{PACKAGE}.{name.name}" for name in node.names]
        elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{PACKAGE}."):
            found.append(str(node.module))
    return found
