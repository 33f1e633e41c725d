"""Finds the line of a mistake: in a manifest by its path, in code by the traceback."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from plugins.authoring.errors import ProjectMistake

PROBLEM: Final = re.compile(r"(?:^|; )([A-Za-z_]\w*(?:\[\d+\]|\.\w+)*): ")
"""A place in a manifest as the server names it: `dataContract[0].fields[1].type: …`."""
STEP: Final = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]")
FRAME: Final = re.compile(r'File "([^"]+)", line (\d+)')
DECODER: Final = json.JSONDecoder()
SPACE: Final = re.compile(r"[\s,:]*")

Place = tuple[str | int, ...]


def with_lines(message: str, name: str, text: str) -> str:
    """Put the lines in front of a message that names places of a JSON document."""
    lines = sorted(set(_lines_of(message, text)))
    if not lines:
        return message
    noun = "line" if len(lines) == 1 else "lines"
    return f"{name}, {noun} {', '.join(map(str, lines))}: {message}"


def _lines_of(message: str, text: str) -> Iterator[int]:
    try:
        offsets = dict(_scan(text, _skip(text, 0), ()))
    except (ValueError, IndexError):
        return
    for problem in PROBLEM.finditer(message):
        place = _parse(problem[1])
        while place and place not in offsets:  # what is missing is a mistake of what should have it
            place = place[:-1]
        if place:
            yield text.count("\n", 0, offsets[place]) + 1


def _parse(path: str) -> Place:
    steps: list[str | int] = []
    for match in STEP.finditer(path):
        step = match[1] if match[2] is None else int(match[2])
        steps.append(step)
    return tuple(steps)


def _scan(text: str, start: int, place: Place) -> Iterator[tuple[Place, int]]:
    """Yield the place of each value below one, with its offset."""
    yield place, start
    if text[start] not in "{[":
        return
    position = _skip(text, start + 1)
    index = 0
    while text[position] not in "}]":
        step: str | int = index
        if text[start] == "{":
            step, end = DECODER.raw_decode(text, position)
            position = _skip(text, end)
        yield from _scan(text, position, (*place, step))
        position = _skip(text, _end(text, position))
        index += 1


def _end(text: str, start: int) -> int:
    """Return the offset behind a value."""
    _, end = DECODER.raw_decode(text, start)
    return end


def _skip(text: str, position: int) -> int:
    match = SPACE.match(text, position)
    return position if match is None else match.end()


def check_code(files: Mapping[str, Path]) -> None:
    """Parse the Python files of a worker. Raises ProjectMistake with the line."""
    for name, path in files.items():
        if not name.endswith(".py"):
            continue
        try:
            ast.parse(path.read_bytes(), name)
        except SyntaxError as error:
            raise ProjectMistake(f"{name}, line {error.lineno or 1}: {error.msg}") from None
        except ValueError as error:
            raise ProjectMistake(f"{name}: {error}") from None


def with_frame(message: str, names: Iterable[str]) -> str:
    """Put the line of the last frame in our files in front of a message with a traceback."""
    known_names = sorted(names, key=len, reverse=True)
    place = ""
    for path, line in FRAME.findall(message):
        for name in known_names:
            if path == name or path.endswith(f"/{name}"):
                place = f"{name}, line {line}"
                break
    if not place:
        return message
    return f"{place}: {message}"
