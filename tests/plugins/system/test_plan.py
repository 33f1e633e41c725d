"""`caudex plugins plan`: what would go, come and change, before anything does."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import structlog

from kernel.cli import main as cli
from kernel.testing import Postgres
from plugins.system import plan
from tests.kernel.processes import Ended, write_config
from tests.kernel.support import HEAD, plugin

Run = Callable[..., Ended]


@pytest.fixture
def planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Generator[Run]:
    """Plan in a folder of its own; a database that no one could reach is configured."""
    monkeypatch.chdir(tmp_path)
    tree: dict[str, Any] = {
        "server": {"data_dir": str(tmp_path / "data")},
        "database": {"url": "host=/nowhere"},
    }
    write_config(tmp_path, tree)

    def run(*words: str) -> Ended:
        capsys.readouterr()
        status = cli.main(["plugins", "plan", *words])
        reported = capsys.readouterr()
        return Ended(status, reported.out, reported.err)

    yield run
    assert not (tmp_path / "data").exists()
    structlog.reset_defaults()


def add(folder: Path, text: str) -> None:
    """Add to the configuration."""
    path = folder / "caudex.toml"
    path.write_text(f"{path.read_text()}\n{text}\n")


def lines(ended: Ended, word: str) -> list[str]:
    """What is said to go, come, stay, ..."""
    found = [line for line in ended.out.splitlines() if line.startswith(f"  {word} ")]
    return [line.removeprefix(f"  {word} ").strip() for line in found]


def test_it_says_what_goes_with_a_plugin_and_what_stays(planned: Run) -> None:
    ended = planned("--disable", "vault")
    assert (ended.status, ended.err) == (0, "")
    gone = lines(ended, "removed")
    assert gone[0] == "plugin vault"
    for line in (
        "route GET /api/v1/platform/secrets: core admin (plugin vault)",
        "command 'rotate-keys' (plugin vault)",
        "hook worker_environment (plugin vault)",
        "service 'vault' (plugin vault)",
    ):
        assert line in gone
    assert "table caudex_vault.secrets (plugin vault)" in lines(ended, "kept")
    assert not lines(ended, "added")
    assert ended.out.splitlines()[-1].startswith("It would start, with ")


def test_permissions_runtimes_and_middlewares_go_too(planned: Run, tmp_path: Path) -> None:
    body = (
        "@hookimpl\ndef register_permissions(self): return [Permission('tea.drink')]\n"
        "@hookimpl\ndef register_middleware(self, services): return [lambda app: app]\n"
        "@hookimpl\ndef register_runtimes(self): return []"
    )
    (tmp_path / "tea.py").write_text(HEAD + plugin("tea", body))
    add(tmp_path, "[plugins.tea]\nmodule = 'tea'")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        gone = lines(planned("--disable", "tea"), "removed")
    assert gone == [
        "plugin tea",
        "permission 'tea.drink' (plugin tea)",
        "a middleware (plugin tea)",
        "hook register_runtimes (plugin tea)",
    ]


def test_it_says_what_comes_and_which_tables_are_made(planned: Run) -> None:
    ended = planned("--enable", "cron")
    assert ended.status == 0
    come = lines(ended, "added")
    assert come[0] == "plugin cron"
    assert "manifest section 'crons' (plugin cron)" in come
    assert "table caudex_cron.crons (plugin cron)" in lines(ended, "created")
    assert not lines(ended, "removed")


def test_it_says_who_would_provide_a_service_instead(planned: Run) -> None:
    ended = planned("--disable", "vault", "--enable", "vault_file")
    assert lines(ended, "changed") == ["service 'vault': vault_file provides it in place of vault"]


def test_it_says_who_would_do_without(planned: Run, tmp_path: Path) -> None:
    mate = plugin("mate", "uses = (ServiceKey('audit'),)")
    (tmp_path / "mate.py").write_text(HEAD + mate)
    add(tmp_path, "[plugins.mate]\nmodule = 'mate'")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        ended = planned("--disable", "audit", "--disable", "undo")
    assert "plugin mate uses the service 'audit' and would run without it" in lines(ended, "warn")


def test_it_says_so_of_those_whose_start_has_no_order(planned: Run) -> None:
    assert lines(planned("--disable", "logs"), "warn") == [
        "plugin app_logins uses the service 'logs' and would run without it",
        "plugin workers uses the service 'logs' and would run without it",
    ]
    reported = lines(planned("--disable", "workers"), "warn")
    assert {line.split()[1] for line in reported} == {"app_logins", "jobs", "vault"}


def test_a_setting_that_would_break_is_reported_with_the_remedy_and_status_78(planned: Run) -> None:
    ended = planned("--disable", "apps")
    assert (ended.status, ended.err) == (78, "")
    assert "plugin apps" in lines(ended, "removed")
    assert "It would not start:" in ended.out.splitlines()
    reasons = lines(ended, "reason")
    assert reasons[0] == (
        "plugin data: needs the service 'apps', which no plugin provides;"
        " enable a plugin that does (not on: apps), or disable data"
    )
    assert len(reasons) > 3
    more = [word for name in ("data", "exports", "files", "frontends", "jobs", "logs", "workers",
                                  "vault", "undo", "trace", "feed")
            for word in ("--disable", name)]  # fmt: skip
    assert planned("--disable", "apps", *more).status == 0


def test_a_choice_that_becomes_needed_is_reported(planned: Run) -> None:
    ended = planned("--enable", "vault_file")
    assert (ended.status, ended.err) == (78, "")
    [reason] = lines(ended, "reason")
    assert "set vault = 'vault' or vault = 'vault_file'" in reason


def test_a_misspelt_name_is_reported_with_the_nearest(planned: Run) -> None:
    [reason] = lines(planned("--disable", "vualt"), "reason")
    assert reason == "[plugins.vualt]: there is no such plugin; did you mean 'vault'?"


def test_a_plugin_is_not_switched_both_ways(planned: Run) -> None:
    said = planned("--disable", "vault", "--enable", "vault").refusal
    assert said == "plugins plan: vault cannot be switched on and off; name it once"


def test_what_is_off_already_changes_nothing(planned: Run) -> None:
    ended = planned("--disable", "cron")
    assert (ended.status, ended.out.splitlines()[0]) == (0, "Nothing changes.")


def test_it_says_whether_a_change_repairs_what_does_not_start(planned: Run, tmp_path: Path) -> None:
    add(tmp_path, "[plugins.broken]\nmodule = 'no_such_module'")
    ended = planned("--disable", "broken")
    assert ended.status == 0
    assert ended.out.startswith("As it is, it does not start: plugin broken, ")
    assert "It would start, with " in ended.out


def test_options_may_come_before_and_after_the_word(planned: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[plugins.vault]\nenabled = false\n")
    for words in (["--config", str(other), "plan"], ["plan", "--config", str(other)]):
        assert cli.main(["plugins", *words, "--enable", "vault"]) == 0
    assert planned("--config", str(other), "--disable", "vault").out.startswith("Nothing changes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"create table caudex_x.a (id int);", [("create", "caudex_x.a")]),
        (b"CREATE UNLOGGED TABLE IF NOT EXISTS a (b int)", [("create", "a")]),
        (b"-- create table no (a int)\ndrop table if exists a;", [("drop", "a")]),
        (b"create index on a (b)", []),
    ],
)
def test_tables_are_read_from_migrations(text: bytes, expected: list[tuple[str, str]]) -> None:
    assert list(plan._find_statements(text)) == expected


def test_the_tables_it_names_are_those_that_a_start_makes(postgres: Postgres) -> None:
    import psycopg

    from kernel.config.settings import load_config
    from kernel.loading.loader import load

    kernel = load(load_config(environ={}))
    reported = {line.split()[1] for line in plan._list_tables(kernel, set())}
    url = postgres.migrated(kernel)
    with psycopg.connect(url) as connection:
        made = connection.execute(
            "select format('%s.%s', schemaname, tablename) from pg_tables"
            " where schemaname like 'caudex\\_%' and schemaname <> 'caudex_kernel'"
        ).fetchall()
    postgres.drop(url)
    assert reported == {name for (name,) in made}
