"""What the figures of density count."""

from pathlib import Path

import pytest

from tests.architecture import style


@pytest.fixture
def code(tmp_path: Path):
    """Writes a module and returns it as the list of files that is counted."""

    def write(*lines: str) -> list[Path]:
        path = tmp_path / "module.py"
        path.write_text("\n".join(lines) + "\n")
        return [path]

    return write


def test_packed_lines_and_weak_names_are_counted(code):
    figures = style.density(
        code(
            "found = 1",
            "record, rows = 1, 2",
            "first, last = rows",
            "if (match := record) is None:",
            "    rows = 1 if match else 2",
        )
    )
    assert figures.walruses == figures.tuple_assignments == figures.conditionals == 1000 / 5
    assert figures.weak_names == 1 / 7


def test_parameters_are_counted_without_self(code):
    paths = code("class A:", "    def act(self, a, b, /, c, *, d): ...", "def go(a, b, c, d): ...")
    assert list(style.many_parameters(paths, 3).values()) == [4, 4]
    assert style.many_parameters(paths, 4) == {}


def test_attributes_and_ancestors_include_what_is_inherited(code):
    paths = code(
        "class A:", "    def __init__(self): self.a = self.b = 1",
        "class B(A):", "    def go(self): self.c = 1",
        "class C(B): ...",
        "class D(C, ValueError): ...",
    )  # fmt: skip
    assert [name.rpartition(":")[2] for name in style.many_attributes(paths, 2)] == ["B", "C", "D"]
    assert [name.rpartition(":")[2] for name in style.many_ancestors(paths, 2)] == ["D"]
