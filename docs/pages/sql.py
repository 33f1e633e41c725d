"""Writes long statements in lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

WIDTH: Final = 110
_TOKENS: Final = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"[^"]*")|(?P<open>\()|(?P<close>\))|(?P<comma>, )"""
    r"|(?P<clause>(?<!cross)(?<!left)(?<!distinct)(?<!delete) (?=(?:select|insert into|update"
    r"|delete from|from|where|having|order by|group by|limit|returning|values|on conflict"
    r"|left join|cross join|join|union|set)\b))"
    r"|(?P<word> (?=(?:and|or|when|else)\b))"
)
_CLAUSE: Final = re.compile(r"(?:select|returning|order by|group by|values|set|from)\b")


def break_lines(text: str) -> str:
    """Break lines that are too long, before clauses and within parentheses."""
    lines = text.split("\n")
    if any(len(line) > WIDTH and line.count("(") != line.count(")") for line in lines):
        lines = [" ".join(line.strip() for line in lines)]
    return "\n".join(
        part
        for line in lines
        for part in _lay_out(line.strip(), line[: len(line) - len(line.lstrip())])
    )


def _lay_out(text: str, indent: str) -> Iterator[str]:
    """Yield lines: a text that is too long by its clauses, conditions, commas or parentheses."""
    if len(indent) + len(text) <= WIDTH:
        yield indent + text
        return
    for kind in ("clause", "word", "comma"):
        first, *others = _split(text, kind)
        if others and kind == "comma":
            yield from _fill([first, *others], indent)
            return
        if others:
            deeper = indent if kind == "clause" else indent + "    "
            yield from _lay_out(first, indent)
            for part in others:
                yield from _lay_out(part, deeper)
            return
    start, end = _longest_group(text)
    if end == start:
        yield indent + text
        return
    yield indent + text[:start]
    yield from _lay_out(text[start:end].strip(), indent + "    ")
    yield from _lay_out(text[end:], indent)


def _fill(parts: list[str], indent: str) -> Iterator[str]:
    """Yield lines with as many parts as fit."""
    line = parts[0]
    begins_clause = _CLAUSE.match(line) is not None
    for part in parts[1:]:
        if len(indent) + len(line) + len(part) < WIDTH:
            line += f" {part}"
            continue
        yield from _lay_out(line, indent)
        line = part
        if begins_clause:
            indent += "    "
            begins_clause = False
    yield from _lay_out(line, indent)


def _split(text: str, kind: str) -> list[str]:
    """Split a text at the tokens of a kind that are outside of parentheses."""
    depth, start = 0, 0
    parts = list[str]()
    for token in _TOKENS.finditer(text):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token[kind] and depth == 0 and token.start() > 0:
            end = token.start() + 1 if kind == "comma" else token.start()
            parts.append(text[start:end].strip())
            start = end
    return [*parts, text[start:].strip()]


def _longest_group(text: str) -> tuple[int, int]:
    """Return where the contents of the longest parentheses begin and end."""
    depth, start = 0, 0
    longest = (0, 0)
    for token in _TOKENS.finditer(text):
        if token["open"]:
            depth += 1
            if depth == 1:
                start = token.end()
        elif token["close"]:
            depth -= 1
            if depth == 0 and token.start() - start > longest[1] - longest[0]:
                longest = (start, token.start())
    return longest
