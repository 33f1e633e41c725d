"""Small enough to be read: the kernel as a whole, files and functions each."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.architecture import numbers
from tests.architecture.code_lines import code_lines

KERNEL = numbers.ROOT / "kernel"
SOURCES = numbers.sources()
LIMITS = {numbers.kernel_entries: 14, numbers.layers: 9, numbers.constants_per_thousand: 5}
"""Lower a limit whenever a change allows it; each ends at the goal behind it."""
MODULES_LIMIT = 12
"""Modules in one folder."""
PARAMETERS_LIMIT = 6
"""Parameters of a constructor."""


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.slow
@pytest.mark.parametrize("count", LIMITS, ids=lambda count: count.__name__)
def test_a_number_is_within_its_limit(count: Callable[[], float]) -> None:
    """`python -m tests.architecture.numbers` prints all of them."""
    assert count() <= LIMITS[count]


def test_folders_hold_few_modules() -> None:
    large = {name: count for name, count in numbers.modules().items() if count > MODULES_LIMIT}
    assert not large


@pytest.mark.slow
def test_constructors_have_few_parameters() -> None:
    found = numbers.constructors().items()
    assert not {name: count for name, count in found if count > PARAMETERS_LIMIT}


def test_contracts_hold_no_behaviour() -> None:
    for path in (KERNEL / "contracts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, ast.For | ast.While | ast.Try | ast.With), path


def test_files_are_short() -> None:
    long = [path for path in SOURCES if len(path.read_text("utf-8").splitlines()) > 350]
    assert len(long) <= len(SOURCES) / 10, long


@pytest.mark.slow
def test_functions_are_short() -> None:
    lengths = [length(node) for _, node in functions()]
    assert median(lengths) <= 10
    assert quantiles(lengths, n=10)[-1] <= 35


def test_a_file_of_code_is_counted_without_words(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text('"""Doc."""\n\n# why\nx = [\n    1,\n]\n\n\ndef f():\n    """Doc."""\n    x\n')
    assert code_lines(path) == 5


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("LIMIT = 5", 1), ("LIMIT: Final = 64 * 1024", 1), ("LOW, HIGH = -1, 2.5", 2),
        ("limit = 5", 0), ("NAMES = (1, 2)", 0), ("FLAG = True", 0), ("TEXT = 'x'", 0),
    ],
)  # fmt: skip
def test_a_tuning_constant_is_a_number_in_capitals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, count: int
) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "x.py").write_text(f"{line}\n")
    monkeypatch.setattr(numbers, "ROOT", tmp_path)
    assert len(list(numbers.tuning_constants())) == count
