"""The code in numbers: `python -m tests.architecture.numbers` prints them.

`make test` holds the sizes that have a goal. Density is a thermometer beside that of peers, without
a limit; `docs/howto/write-readable-code.md` has pairs of packed and plain lines. The time of
`make test` and the processor time of a request are measured by hand (docs/adr).
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.architecture import style
from tests.architecture.code_lines import code_lines

ROOT = Path(__file__).parents[2]
PACKAGES = ("kernel", "plugins", "contrib")
APART = ("contracts", "testing", "toolkit")
"""Folders of the kernel that are counted apart."""


def sources(*folders: str) -> list[Path]:
    """The Python files of the folders, by default of all three packages."""
    return [path for name in folders or PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]


def kernel_lines() -> int:
    """Lines of code of the kernel without contracts, testing and toolkit."""
    apart = {ROOT / "kernel" / name for name in APART}
    return sum(code_lines(path) for path in sources("kernel") if not apart & set(path.parents))


def toolkit_lines() -> int:
    """Lines of code of the toolkit."""
    return sum(map(code_lines, sources("kernel/toolkit")))


def kernel_entries() -> int:
    """Folders and modules at the top level of the kernel, without files of packaging."""
    entries = [path for path in (ROOT / "kernel").iterdir() if path.name != "__pycache__"]
    return len([path for path in entries if path.is_dir() or path.suffix == ".py"]) - 1


def layers() -> int:
    """Import layers of the kernel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    [kernel] = [one for one in contracts if one["name"] == "layers of the kernel"]
    return len(kernel["layers"])


def source_lines() -> int:
    """Lines of every Python file, with words and blank lines."""
    return sum(len(path.read_text("utf-8").splitlines()) for path in sources())


def sql_lines() -> int:
    """Lines of all migrations."""
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("migrations/*.sql")]
    return sum(len(path.read_text("utf-8").splitlines()) for path in files)


def tuning_constants() -> Iterator[str]:
    """Module-level constants whose value is a number, as `path:NAME`."""
    for path in sources():
        for node in ast.parse(path.read_text("utf-8")).body:
            match node:
                case ast.Assign(targets=[target], value=value):
                    yield from _numbers(path, target, value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    yield from _numbers(path, target, value)
                case _:
                    pass


def _numbers(path: Path, target: ast.expr, value: ast.expr) -> Iterator[str]:
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=True))
    for name, number in pairs:
        if isinstance(name, ast.Name) and name.id.isupper() and _is_number(number):
            yield f"{path.relative_to(ROOT)}:{name.id}"


def _is_number(node: ast.expr) -> bool:
    """Whether an expression is made of numbers alone, such as `64 * 1024`."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case ast.UnaryOp(operand=operand):
            return _is_number(operand)
        case _:
            return False


def constants_per_thousand() -> float:
    """Tuning constants per thousand source lines."""
    return 1000 * len(list(tuning_constants())) / source_lines()


def modules() -> Counter[str]:
    """Modules in each folder, `__init__` apart."""
    paths = [path for path in sources() if path.name != "__init__.py"]
    return Counter(str(path.parent.relative_to(ROOT)) for path in paths)


def constructors() -> Counter[str]:
    """Parameters of each constructor, `self` apart."""
    counts = Counter[str]()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                        parameters = method.args
                        names = [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs]
                        counts[f"{path.relative_to(ROOT)}:{node.name}"] = len(names) - 1
    return counts


def size_rows() -> list[tuple[str, str, str]]:
    """What is counted, the number and the goal."""
    folder, module_count = modules().most_common(1)[0]
    constructor, parameter_count = constructors().most_common(1)[0]
    return [
        ("kernel, code lines without contracts, testing, toolkit", f"{kernel_lines():,}", ""),
        ("toolkit, code lines", str(toolkit_lines()), ""),
        ("kernel, entries at its top level", str(kernel_entries()), "14"),
        ("kernel, import layers", str(layers()), "9"),
        ("source lines (kernel, plugins, contrib)", f"{source_lines():,}", ""),
        ("SQL of migrations", f"{sql_lines():,}", ""),
        ("tuning constants per 1,000 lines", f"{constants_per_thousand():.1f}", "5"),
        (f"modules in one folder ({folder})", str(module_count), "12"),
        (f"parameters of a constructor ({constructor})", str(parameter_count), "6"),
    ]


def density_rows() -> list[tuple[str, str, str]]:
    """What is counted, the number and that of six code bases of the field."""
    figures = style.density(sources())
    walruses, tuples, conditionals, weak_names = style.PEERS
    return [
        ("assignments in expressions per 1,000 lines", f"{figures.walruses:.1f}", walruses),
        ("tuple assignments per 1,000 lines", f"{figures.tuple_assignments:.1f}", tuples),
        ("conditional expressions per 1,000 lines", f"{figures.conditionals:.1f}", conditionals),
        ("names without a noun, of all bindings", f"{figures.weak_names:.1%}", weak_names),
    ]


def outliers() -> Iterator[tuple[str, dict[str, int]]]:
    """Yield what to look at, with the functions and classes and their counts."""
    yield "functions with more than 6 parameters", style.many_parameters(sources(), 6)
    yield "classes with more than 12 attributes", style.many_attributes(sources(), 12)
    yield "classes with more than 2 ancestors of ours", style.many_ancestors(sources(), 2)


def main() -> None:
    """Print sizes with their goals, density beside that of peers, and what is large."""
    print(f"{'':<75} {'ours':>8} {'goal':>8}")
    for what, number, goal in size_rows():
        print(f"{what:<75} {number:>8} {goal:>8}")
    print(f"\n{'':<75} {'ours':>8}  peers")
    for what, number, peers in density_rows():
        print(f"{what:<75} {number:>8}  {peers}")
    for what, counts in outliers():
        print(f"\n{what}")
        for name, count in sorted(counts.items(), key=lambda item: -item[1]):
            print(f"  {count:5} {name.removeprefix(f'{ROOT}/')}")


if __name__ == "__main__":
    main()
