"""Which of PostgreSQL's programs a backup uses: an old one is refused by a newer database."""

import re

import pytest

from kernel.hooks.services import ServiceContainer
from kernel.public import BadRequest
from plugins.backup.dumps import programs
from plugins.backup.dumps.postgres import major_of
from plugins.backup.dumps.programs import Program, find_programs

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
    monkeypatch.setattr(programs, "SYSTEM_FOLDERS", ())
    seen = f"{old}/pg_dump is of 9" if there else "none was found"
    with pytest.raises(BadRequest) as caught:
        find_programs(ServiceContainer({}), "pg_dump", postgres.url)
    assert re.fullmatch(
        rf"pg_dump: the database is of PostgreSQL (\d+), {seen}: install the client programs of "
        r"PostgreSQL \1 or newer, or pip install 'a-package-that-is-not-there>=\1'",
        str(caught.value),
    )


@pytest.mark.parametrize("text", ["#!/bin/sh\necho nothing", "no program", ""])
def test_a_program_without_a_version_is_skipped(postgres, monkeypatch, old, text):
    (old / "pg_dump").write_text(text)
    monkeypatch.setenv("PATH", str(old))
    fitting = find_programs(ServiceContainer({}), "pg_dump", postgres.url)
    assert not any(program.path.is_relative_to(old) for program in fitting)


def test_the_lowest_version_that_is_no_older_than_the_database_is_used_first(
    postgres, monkeypatch, tmp_path
):
    """A newer one writes what an older database refuses."""
    database = major_of(postgres.url)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "WHEEL", "a-package-that-is-not-there")
    monkeypatch.setattr(programs, "SYSTEM_FOLDERS", ((str(tmp_path), "*/bin"),))
    for major in (database - 1, database, database + 1, database + 12):
        program = tmp_path / str(major) / "bin" / "pg_dump"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {major}.4'\n")
        program.chmod(0o755)
    expected = [
        Program(tmp_path / str(major) / "bin" / "pg_dump", major)
        for major in (database, database + 1, database + 12)
    ]
    assert find_programs(ServiceContainer({}), "pg_dump", postgres.url) == expected
