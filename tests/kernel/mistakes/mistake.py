"""A mistake of a plugin's author: the plugin, how it is met, and what the server says."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from kernel.testing import Server
from tests.waiting import eventually

HEAD = """
import asyncio, os, signal, sys, threading, time, warnings
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol
import anyio
from caudex import *
"""
MARK = "  # here"
FAILED = "a request failed"
REFUSED = "refused"
APP = "oops"
Ask = Callable[[Server, str], httpx.Response | None]


def visit(server: Server, name: str) -> httpx.Response:
    """Ask the route of the plugin."""
    return server.http.get(f"/{name}")


def write(server: Server, name: str) -> httpx.Response:
    """Create a record of the entity that has the plugin's name."""
    return server.admin.post(f"/api/v1/apps/{APP}/collections/{name}", json={"title": "x"})


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake; `# here` marks the line of the plugin that the server names."""

    title: str
    """What the author did, as a clause."""
    body: str
    """The body of the plugin's class."""
    head: str = ""
    """Code above the class."""
    tables: str = ""
    """Its migration."""
    ask: Ask = visit
    status: int | None = 500
    """Status of the reply; None without a reply."""
    event: str = FAILED
    """What the line of the log begins with."""
    says: Mapping[str, str] = {}
    """Fields of that line, and a part of what each says."""
    remedy: str = "fix the plugin, or disable it"
    """What the field `remedy` begins with."""

    def text(self, name: str) -> str:
        """Return the whole plugin."""
        lines = textwrap.indent(textwrap.dedent(self.body).strip(), "    ")
        tables = "    migrations = Path(__file__).parent / name\n" if self.tables else ""
        return (
            f"{HEAD}{textwrap.dedent(self.head)}\n\n"
            f"class BrokenPlugin(Plugin):\n    name = {name!r}\n{tables}{lines}\n"
        )

    def save(self, name: str, folder: Path) -> Path:
        """Write the plugin as a file, with its migration."""
        if self.tables:
            (folder / name).mkdir()
            (folder / name / "0001_tables.sql").write_text(self.tables, "utf-8")
        path = folder / f"{name}.py"
        path.write_text(self.text(name), "utf-8")
        return path

    def place(self, name: str, folder: Path) -> str:
        """Return the place of the marked line."""
        lines = self.text(name).splitlines()
        [line] = [number for number, text in enumerate(lines, 1) if text.endswith(MARK)]
        return f"{folder / name}.py:{line}"

    def check(self, name: str, folder: Path, lines: Sequence[Mapping[str, Any]]) -> None:
        """Check that one line of the log names the plugin, the place and the remedy."""
        of_event = eventually(lambda: [each for each in lines if each["event"] == self.event],
                              why=lambda: [each["event"] for each in lines][-5:])  # fmt: skip
        line = next((each for each in of_event if each.get("plugin") == name), of_event[0])
        assert line.get("plugin") == name, of_event
        at = str(line.get("where") or line.get("at"))
        assert self.place(name, folder) in at.replace(", ", ";").replace(" ", ";").split(";"), line
        assert str(line.get("remedy", "")).startswith(self.remedy), line
        for field, part in self.says.items():
            assert part in str(line.get(field, "")), (field, line)


def handler(code: str, head: str = "") -> str:
    """Return the body of a plugin whose route runs this code."""
    first = "@hookimpl\ndef register_routes(self, services):\n    self._services = services\n"
    routes = '    return [Route("GET", f"/{self.name}", self.get, needs=PUBLIC)]\n'
    requires = "requires = (STATEMENTS,)\n" if "STATEMENTS" in code else ""
    inside = textwrap.indent(textwrap.dedent(code).strip(), "    ")
    get = f"async def get(self, request):\n{inside}"
    return f"{requires}{textwrap.dedent(head)}\n{first}{routes}\n{get}"
