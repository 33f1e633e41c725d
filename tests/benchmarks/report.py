"""Aligned tables on standard output, progress on standard error."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Tell what goes on."""
    print(text, file=sys.stderr, flush=True)


def ratio(value: float) -> str:
    """A share, as a percentage."""
    return f"{value * 100:.0f} %"


def times(value: float | None) -> str:
    """A multiple; a dash where nothing was measured."""
    return "-" if value is None else f"{value:.1f} x" if value >= 0.1 else "< 0.1 x"


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
