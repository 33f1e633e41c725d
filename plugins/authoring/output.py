"""What a command prints: sentences for people, or JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import click
import msgspec

from kernel.public import KernelError

Advance = Callable[[int], None]
"""Moves a progress bar by a number of bytes or steps."""


class Bar(Protocol):
    """The part of click's progress bar that is used."""

    def update(self, n_steps: int) -> None:
        """Move the bar."""
        ...


class Output:
    """Prints results to standard output, and what accompanies them to standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, sentence: str) -> None:
        """Print a sentence for people."""
        if not self.as_json:
            click.echo(sentence)

    def note(self, sentence: str) -> None:
        """Print a remark that is no part of the result."""
        click.echo(sentence, err=True)

    def result(self, value: object) -> None:
        """Print the result as JSON, where JSON is asked for."""
        if self.as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def line(self, value: object) -> None:
        """Print one line of JSON, where JSON is asked for."""
        if self.as_json:
            click.echo(msgspec.json.encode(value).decode())

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table for people."""
        if self.as_json or not rows:
            return
        lines = [[*head], *([_cell(value) for value in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            click.echo("  ".join(map(str.ljust, line, widths)).rstrip())

    @contextmanager
    def progress(self, label: str, length: int) -> Generator[Advance]:
        """Show a progress bar while the block runs, if standard error is a terminal."""
        if not sys.stderr.isatty():
            yield _ignore
            return
        with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
            yield _advance(bar)


def refusal_of(error: KernelError) -> Mapping[str, Any]:
    """Return an error in the form of the API's replies."""
    return {"error": error.message, **error.members}


def show_size(size: int) -> str:
    """Return a number of bytes as people read it."""
    if size < 1000:
        return f"{size} bytes"
    if size < 1_000_000:
        return f"{size / 1000:.1f} kB"
    return f"{size / 1_000_000:.1f} MB"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _advance(bar: Bar) -> Advance:
    def advance(steps: int) -> None:
        bar.update(steps)

    return advance


def _ignore(steps: int) -> None:
    """Show nothing."""
