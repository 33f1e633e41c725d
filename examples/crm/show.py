"""Output for people: headings, aligned tables, a progress bar. Plain text where no terminal is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

TERMINAL = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
COLOUR = TERMINAL and "NO_COLOR" not in os.environ
BAR = 30


def heading(text: str) -> None:
    """Begin a part."""
    _print(f"\n{_styled(text, '1;36')}\n")


def say(text: str = "") -> None:
    """A line of its own."""
    _print(f"  {text}".rstrip())


def dim(text: str) -> str:
    """Set text back."""
    return _styled(text, "2")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """Print rows in columns; the columns in `right` hold figures."""
    cells, figures = [list(head), *map(list, rows)], set(right)
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    for number, row in enumerate(cells):
        parts = [
            text.rjust(width) if at in figures else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(parts).rstrip()
        say(line if number else _styled(line, "1"))
        if not number:
            say(dim("  ".join("─" * width for width in widths)))


def progress(what: str, batches: Sequence[Sequence[T]]) -> Iterator[Sequence[T]]:
    """Pass batches of records on, one request each, and show how far they are."""
    began, total, done = time.monotonic(), sum(map(len, batches)), 0
    for batch in batches:
        _bar(what, done, total)
        yield batch
        done += len(batch)
    _bar(what, total, total)
    how = f"in {len(batches)} requests, {time.monotonic() - began:.1f} s"
    _print(f"{_start()}  {what:<12} {total:>4} records {dim(how)}")


def blocks(share: float, width: int = 24) -> str:
    """A bar of a chart; `share` is 0 to 1."""
    return "█" * max(1, round(share * width)) if share else ""


def _print(line: str) -> None:
    """Print in one write: a worker's log comes from another thread, in between otherwise."""
    print(f"{line}\n", end="")


def _bar(what: str, done: int, total: int) -> None:
    if TERMINAL:
        filled = BAR * done // total
        bar = _styled("━" * filled, "36") + dim("━" * (BAR - filled))
        sys.stdout.write(f"{_start()}  {what:<12} {bar} {done}/{total}")
        sys.stdout.flush()


def _start() -> str:
    """Go back to the start of the line and clear it."""
    return "\r\x1b[K" if TERMINAL else ""


def _styled(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text
