"""An import and a proposal of an app read CSV in threads of one process, in the same way."""

from __future__ import annotations

import io

import pytest

from kernel.public import BadRequest, FileDialect, find_delimiter, read_sheet
from kernel.toolkit.inference.sheets import LONGEST_VALUE
from plugins.data.exchange.lines import FileLines

LONG = "x" * (LONGEST_VALUE + 1)


def rows_of_import(text: str) -> list[list[str]]:
    return [*FileLines(io.BytesIO(text.encode()), FileDialect()).read_rows()]


class BesideAnImport(io.BytesIO):
    """A file that is read while an import begins."""

    def read1(self, size: int | None = -1, /) -> bytes:
        assert rows_of_import("a\n1\n") == [["a"], ["1"]]
        return super().read1(size)


def test_a_proposal_that_begins_does_not_lower_the_bound_of_an_import() -> None:
    rows = FileLines(io.BytesIO(f"title\n{LONG}\n".encode()), FileDialect()).read_rows()
    assert next(rows) == ["title"]
    assert read_sheet(io.BytesIO(b"a\n1\n"), "other.csv").rows == 1
    assert next(rows) == [LONG]


@pytest.mark.parametrize(
    ("text", "said"),
    [(f"title\n{LONG}\n", "line 2: a value has over 1000000 characters"),
     (f"title,{LONG}\n", "a heading of over 1000000 characters")],
    ids=["value", "heading"],
)  # fmt: skip
def test_an_import_that_begins_does_not_lift_the_bound_of_a_proposal(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read_sheet(BesideAnImport(text.encode()), "long.csv")
    read_sheet(BesideAnImport(f"title\n{LONG[1:]}\n".encode()), "long.csv")


FILES = [
    ('"Doe, Jane, and, others";city\n1;2\n', ["Doe, Jane, and, others", "city"]),
    ("sep=;\na,b,c;d\n1;2\n", ["a,b,c", "d"]),
    ("SEP=|\r\na,b,c|d\r\n1|2\r\n", ["a,b,c", "d"]),
    ("\ufeffsep=\t\na,b\tc\n1\t2\n", ["a,b", "c"]),
    ("one\n1\n", ["one"]),
]


@pytest.mark.parametrize(("text", "headings"), FILES)
def test_both_find_the_same_delimiter(text: str, headings: list[str]) -> None:
    rows = rows_of_import(text)
    assert rows[0] == headings
    sheet = read_sheet(io.BytesIO(text.encode()), "a.csv")
    assert [column.heading for column in sheet.columns] == headings
    assert sheet.rows == len(rows) - 1


def test_lines_are_counted_from_the_beginning_of_the_file() -> None:
    with pytest.raises(BadRequest, match=r"a\.csv, line 3: 3 values, the header has 2"):
        read_sheet(io.BytesIO(b"sep=;\na;b\n1;2;3\n"), "a.csv")


def test_the_first_of_equal_delimiters_decides() -> None:
    assert find_delimiter("a;b,c") == ","
    assert find_delimiter("a;b;c,d") == ";"
    assert find_delimiter('"a,b') == ","
