"""Reads the pages of the project: code blocks, links, commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:#|--|//|<!--) (\S+\.\w+)(?: -->)?\n")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
INDENTED = re.compile(r"(?:^    .+\n)+", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
CHANGING = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "an id"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|\+00:00)"), "a time"),
)
MARK = "\x1d"


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def every_page() -> list[Path]:
    """Every page that people read, the generated ones too."""
    folders = [ROOT / name for name in ("docs", "examples", "plugins", "contrib")]
    found = [*ROOT.glob("*.md"), *(page for each in folders for page in each.rglob("*.md"))]
    return sorted(found)


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*match) for match in FENCE.findall(text)]


def section(text: str, heading: str) -> str:
    """The text below a heading, up to the next of its level."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def code(text: str) -> Iterator[str]:
    """Every piece of code of a page: fenced, indented, within a line."""
    yield from (block.text for block in blocks(text))
    prose = FENCE.sub("", text)
    yield from INDENTED.findall(prose)
    yield from SPAN.findall(INDENTED.sub("", prose))


def write_files(text: str, folder: Path) -> list[str]:
    """Write the blocks whose first line names a file; return the names."""
    names: list[str] = []
    for block in blocks(text):
        if named := NAMED.match(block.text):
            path = folder / named[1].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
            names.append(named[1])
    return names


def links(text: str) -> list[str]:
    """Targets of the links of a page."""
    return LINK.findall(FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def run_shell(
    text: str, url: str, folder: Path, environment: Mapping[str, str] | None = None
) -> list[tuple[str, object]]:
    """Paste the `sh` blocks into one shell, as a reader would; `environment` is set besides.

    Returns for each what it printed, and the reply that the page shows below it or None.
    """
    found = blocks(text)
    scripts = [block.text for block in found if block.language == "sh"]
    pasted = f"\nprintf '{MARK}'\n".join(scripts).replace("http://127.0.0.1:9100", url)
    done = subprocess.run(
        ["bash"],
        input=pasted,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not done.stderr, done.stderr
    outputs = done.stdout.split(MARK)
    assert len(outputs) == len(scripts), done.stdout
    shown: list[object] = []
    for block, after in zip(found, [*found[1:], Block("", "")], strict=True):
        if block.language == "sh":
            shown.append(json.loads(after.text) if after.language == "json" else None)
    return list(zip(outputs, shown, strict=True))


def last_reply(output: str) -> object:
    """The last line of an output, decoded."""
    return json.loads(output.strip().splitlines()[-1])


def alike(value: object) -> object:
    """A reply without what differs each time: ids and times."""
    text = json.dumps(value)
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return json.loads(text)
