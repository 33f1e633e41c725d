"""Aligned tables on standard output, progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .figures import Ratio

COLUMNS = ("throughput", "server CPU", "PostgreSQL CPU", "p50", "p99", "memory")
FIELDS = ("rate", "server_cpu", "database_cpu", "p50", "p99", "memory")


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def times(value: float | None) -> str:
    """A multiple; a dash where nothing was measured."""
    if value is None:
        return "-"
    return f"{value:.0f} x" if value >= 20 else f"{value:.2f} x"


def bound(value: float, limit: float, unit: str) -> tuple[str, str]:
    """A figure and its bound, marked when it is over."""
    return f"{value:.1f} {unit}", f"< {limit:g} {unit}" + ("" if value < limit else "  (over)")


class Table:
    """A heading, columns, rows."""

    def __init__(self, *head: str) -> None:
        self._rows: list[tuple[str, ...]] = [head]
        self._notes: list[str] = []

    def row(self, *cells: str) -> None:
        """Add a row."""
        self._rows.append(cells)

    def note(self, text: str) -> None:
        """Say something below."""
        self._notes.append(text)

    def show(self) -> None:
        """Print it: names to the left, figures to the right."""
        widths = [max(map(len, column)) for column in zip(*self._rows, strict=True)]
        for number, (name, *cells) in enumerate(self._rows):
            figures = [cell.rjust(w) for cell, w in zip(cells, widths[1:], strict=True)]
            print("  ".join([name.ljust(widths[0]), *figures]))
            if not number:
                print("  ".join("-" * width for width in widths))
        print("\n".join([*self._notes, ""]), flush=True)


def of_ratios(ratios: Sequence[Ratio]) -> Table:
    """One line for each ratio: ours divided by theirs."""
    table = Table("case", "who", "against", *COLUMNS)
    for ratio in ratios:
        figures = [times(getattr(ratio, field)) for field in FIELDS]
        table.row(ratio.case, ratio.ours, ratio.against, *figures)
    return table
