"""How errors are raised: a frame that holds the error it raised holds all it worked with."""

import ast
from collections.abc import Iterator
from pathlib import Path

import contrib
import kernel
import plugins


def test_no_frame_holds_the_error_that_it_raises() -> None:
    """`except ... as error` drops the name at its end; any other variable has to be deleted."""
    found = [
        f"{path}:{line}"
        for package in (kernel, plugins, contrib)
        for path in sorted(Path(package.__path__[0]).rglob("*.py"))
        for line in _held(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []


def _held(tree: ast.AST, dropped: frozenset[str] = frozenset()) -> Iterator[int]:
    """Yield the lines that raise a variable which its function keeps."""
    for node in ast.iter_child_nodes(tree):
        names = dropped
        if isinstance(node, ast.ExceptHandler) and node.name:
            names |= {node.name}
        if isinstance(node, ast.Try):
            names |= {
                target.id
                for statement in node.finalbody
                if isinstance(statement, ast.Delete)
                for target in statement.targets
                if isinstance(target, ast.Name)
            }
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
            name = node.exc.id
            if name[0].islower() and name not in names:
                yield node.lineno
        yield from _held(node, names)
