"""Runs the command line of authors against a server of the tests."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from kernel.testing import Server
from tests.kernel.here import caudex_here
from tests.kernel.processes import Ended, environment

PASSWORD = "Str0ngPass!x"


class Author:
    """A person at a shell: a folder, an own configuration folder, and the admin's token."""

    def __init__(self, folder: Path, server: Server | None = None) -> None:
        self.folder = folder
        self.variables = {"XDG_CONFIG_HOME": str(folder / ".config")}
        if server is not None:
            self.variables["CAUDEX_URL"] = server.url
            self.variables["CAUDEX_TOKEN"] = server.admin.tokens["accessToken"]

    def run(self, *words: str, typed: str = "") -> Ended:
        """Run a command; `typed` is its standard input."""
        with mock.patch.object(sys, "stdin", io.StringIO(typed)):
            return caudex_here(*words, cwd=self.folder, env=environment(self.variables))

    def ok(self, *words: str, typed: str = "") -> Ended:
        """Run a command that succeeds."""
        ended = self.run(*words, typed=typed)
        assert ended.status == 0, (ended.out, ended.err)
        return ended

    def json(self, *words: str, typed: str = "") -> Any:
        """Run a command that succeeds, and return what it prints as JSON."""
        return json.loads(self.ok(*words, "--json", typed=typed).out)

    def refused(self, *words: str, typed: str = "") -> str:
        """Run a command that is refused, and return the line that says why."""
        ended = self.run(*words, typed=typed)
        assert ended.status == 1, (ended.out, ended.err)
        plain = "\n".join(line.removeprefix("caudex: ") for line in ended.reported)
        as_json = self.run(*words, "--json", typed=typed)
        assert as_json.status == 1
        assert "error" in json.loads(as_json.out)
        return plain

    def inside(self, name: str) -> Author:
        """The same author in a folder below."""
        author = Author(self.folder / name)
        author.variables = self.variables
        return author

    def edit(self, name: str, before: str, after: str) -> None:
        """Change a file of the folder."""
        path = self.folder / name
        text = path.read_text("utf-8")
        assert before in text
        path.write_text(text.replace(before, after), "utf-8")
