"""Which of PostgreSQL's programs a backup uses: an old one is refused by a newer database."""

import re

import pytest

from kernel.hooks.services import Services
from kernel.public import BadRequest
from plugins.backup import programs
from plugins.backup.programs import tool

OLD = "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24 (Debian 9.6)'\nexit 1\n"


@pytest.fixture
def old(tmp_path):
    """A folder whose pg_dump is older than any database."""
    folder = tmp_path / "old"
    folder.mkdir()
    program = folder / "pg_dump"
    program.write_text(OLD)
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("there", [True, False])
def test_where_none_is_new_enough_it_is_reported_what_to_install(
    postgres, monkeypatch, old, tmp_path, there
):
    monkeypatch.setenv("PATH", str(old if there else tmp_path))
    monkeypatch.setattr(programs, "WHEEL", "a-package-that-is-not-there")
    seen = f"{old}/pg_dump is of 9" if there else "none was found"
    with pytest.raises(BadRequest) as caught:
        tool(Services({}), "pg_dump", postgres.url)
    assert re.fullmatch(
        rf"pg_dump: the database is of PostgreSQL (\d+), {seen}: install the client programs of "
        r"PostgreSQL \1 or newer, or pip install 'a-package-that-is-not-there>=\1'",
        str(caught.value),
    )


@pytest.mark.parametrize("text", ["#!/bin/sh\necho nothing", "no program", ""])
def test_a_program_without_a_version_is_skipped(postgres, monkeypatch, old, text):
    (old / "pg_dump").write_text(text)
    monkeypatch.setenv("PATH", str(old))
    assert tool(Services({}), "pg_dump", postgres.url).is_relative_to(old) is False
