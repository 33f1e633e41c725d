"""What an operator types and reads: help, refusals of one line, commands beside a server."""

import codecs
import http.server
import os
import socket
import subprocess
import threading
import tomllib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from kernel.cli.main import main
from kernel.config.settings import load_config
from kernel.loading.contributions import KERNEL_COMMANDS
from kernel.loading.loader import load
from kernel.testing.servers import NO_TLS
from tests.kernel.databases import sql
from tests.kernel.here import caudex_here
from tests.kernel.processes import (
    COMMAND,
    PROBE,
    Ended,
    Served,
    caudex,
    environment,
    open_folder,
    write_config,
)
from tests.kernel.support import shut

Here = Callable[..., Ended]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Commands, run in an empty folder with an environment that configures nothing."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    return lambda *words: caudex_here(*words, env=os.environ)


@pytest.fixture
def any_port(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default one is asked for by other runs of the tests at the same moment."""
    monkeypatch.setenv("CAUDEX_SERVER__PORT", "0")


@pytest.fixture
def configured(tmp_path: Path, database: str) -> Path:
    """A folder with a caudex.toml: an own database and data folder."""
    write_config(
        tmp_path,
        {
            "server": {"data_dir": str(tmp_path / "data")},
            "database": {"url": database, "wait": 0.5, "pool_size": 4},
        },
    )
    return tmp_path


@pytest.fixture(scope="module")
def embedded() -> Generator[tuple[Path, Served]]:
    """A server with an embedded database, and the folder that commands beside it are run in."""
    with open_folder() as folder:
        tree: dict[str, dict[str, Any]] = {
            "server": {"data_dir": str(folder / "data")},
            "plugins.postgres": {"port": 0, "ephemeral": True},
        }
        write_config(folder, tree)
        with Served(cwd=folder) as server:
            yield folder, server


# --- help -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_command(here: Here, words: list[str]) -> None:
    ended = here(*words)
    assert (ended.status, ended.err) == (0, "")
    for command in (*KERNEL_COMMANDS, "init", "doctor", "users"):
        assert f"\n  {command} " in ended.out
    assert "one server on PostgreSQL" in ended.out


@pytest.mark.parametrize("command", [*KERNEL_COMMANDS, "init", "doctor", "users"])
def test_each_command_explains_itself(here: Here, command: str) -> None:
    ended = here(command, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: caudex {command}")
    assert "--config FILE" in ended.out
    assert "--data-dir DIR" in ended.out


def test_help_of_serve_shows_the_defaults(here: Here) -> None:
    reported = here("serve", "--help").out
    for words in ("(127.0.0.1)", "(9100)", "--workers", "--reload", "--plugin FILE"):
        assert words in reported


def test_help_works_with_a_broken_configuration(here: Here, tmp_path: Path) -> None:
    (tmp_path / "caudex.toml").write_text("[server\n")
    for words in (["--help"], ["doctor", "--help"]):
        ended = here(*words)
        assert (ended.status, ended.err) == (0, "")


def test_the_version_is_reported(here: Here) -> None:
    assert here("--version").out.startswith("caudex 0.")


@pytest.mark.parametrize("words", [["srve"], ["serve", "--prot", "1"], ["serve", "--port", "x"]])
def test_a_misspelt_word_is_reported_with_the_usage(here: Here, words: list[str]) -> None:
    ended = here(*words)
    assert ended.status == 2
    assert ended.err.startswith("Usage: caudex")
    assert words[0 if len(words) == 1 else 1] in ended.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("srve", "'serve'"), ("serve --prt 1", "'--port'"), ("serve --prt=1", "'--port'"),
        ("users lst", "'list'"), ("plugins plan --disabel x", "'--disable'"),
        ("config chek", "'check'"),
    ],
)  # fmt: skip
def test_the_nearest_word_is_reported(here: Here, words: str, meant: str) -> None:
    ended = here(*words.split())
    assert ended.status == 2
    assert ended.err.endswith(f" Did you mean {meant}?\n")
    assert "Did you mean" not in here("serve", "--zzzzzzz").err


# --- init and config ------------------------------------------------------------------------


def test_init_writes_a_commented_configuration_that_is_good(here: Here, tmp_path: Path) -> None:
    ended = here("init")
    assert (ended.status, ended.out) == (0, "wrote caudex.toml\n")
    assert "# port = 9100" in (tmp_path / "caudex.toml").read_text()
    ended = here("config", "check")
    assert ended.status == 0
    assert "caudex.toml is good" in ended.out


def test_what_init_comments_out_are_the_real_defaults(here: Here, tmp_path: Path) -> None:
    here("init", "mine.toml")
    lines = (tmp_path / "mine.toml").read_text().splitlines()
    section, known, seen = "", load_config(environ={}), 0
    for line in [line.removeprefix("# ").split("  #")[0].rstrip() for line in lines]:
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line and section in ("server", "database", "log"):
            key, value = line.split(" = ", 1)
            default = getattr(getattr(known, section), key)
            unset = {"cors_origins": [], "server_timing": False}
            shown = unset[key] if default is None else default
            assert tomllib.loads(f"x = {value}")["x"] == shown, line
            seen += 1
    assert seen > 8


def test_init_never_writes_over_a_file(here: Here, tmp_path: Path) -> None:
    (tmp_path / "caudex.toml").write_text("# mine")
    assert here("init").refusal == "caudex.toml: file exists; name another file"
    assert (tmp_path / "caudex.toml").read_text() == "# mine"
    assert "choose another folder" in here("init", "no/such/x.toml").refusal


@pytest.mark.parametrize("command", ["serve", "config check", "plugins", "users list"])
@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("[server]\nprot = 1", "caudex.toml [server]", "did you mean 'port'?"),
        ("[servr]\nport = 1", "caudex.toml", "did you mean 'server'?"),
        ("[server]\nport = 'x'", "caudex.toml [server]", "expected int"),
        # A port of its own: whether that is free is asked before plugins are looked for.
        ("[server]\nport = 0\n[plugins.vualt]", "[plugins.vualt]", "did you mean 'vault'?"),
        ("[server", "caudex.toml", "cannot be read"),
    ],
)
def test_a_wrong_key_is_one_line_with_the_nearest_known(
    here: Here, tmp_path: Path, command: str, text: str, place: str, remedy: str
) -> None:
    (tmp_path / "caudex.toml").write_text(text)
    said = here(*command.split()).refusal
    assert said.startswith(place)
    assert remedy in said


def test_every_mistake_is_reported_at_once_a_line_each(here: Here, tmp_path: Path) -> None:
    (tmp_path / "caudex.toml").write_text("[server]\nprot = 1\n[database]\nurll = 'x'")
    ended = here("serve")
    assert ended.status == 78
    assert [line.split(":")[1].strip() for line in ended.reported] == [
        "caudex.toml [server]",
        "caudex.toml [database]",
    ]


def test_the_configuration_is_searched_in_the_documented_order(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("caudex", "named", "env"):
        (tmp_path / f"{name}.toml").write_text("")
    assert here("config", "check").out.startswith("caudex.toml")
    monkeypatch.setenv("CAUDEX_CONFIG", "env.toml")
    assert here("config", "check").out.startswith("env.toml")
    assert here("config", "check", "--config", "named.toml").out.startswith("named.toml")
    said = here("config", "check", "--config", "gone.toml").refusal
    assert said == "config: there is no file gone.toml; `caudex init` writes one"


def test_plugins_and_routes_need_no_database(here: Here, tmp_path: Path) -> None:
    (tmp_path / "caudex.toml").write_text("[database]\nurl = 'host=/nowhere'\n")
    head, *rows = here("plugins").out.splitlines()
    assert head.split() == [
        "name", "version", "state", "provides", "requires", "routes", "origin", "note"
    ]  # fmt: skip
    assert "CAUDEX_TOKEN" in rows[-1]
    [auth] = [row for row in rows if row.startswith("auth ")]
    assert auth.split()[2] == "on"
    assert {"identity", "built-in"} <= set(auth.split())
    head, *rows = here("routes").out.splitlines()
    assert head.split() == ["method", "path", "plugin", "needs"]
    assert ["GET", "/health", "system", "public"] in [row.split() for row in rows]
    assert len(rows) == len(load(load_config(environ={})).routes)


@pytest.mark.parametrize("words", [["plugins"], ["config", "check"], ["plugins", "plan"]])
def test_every_command_knows_a_file_that_is_named(
    here: Here, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "caudex.toml").write_text("[plugins.probe]\n[database]\nurl = 'host=/nowhere'\n")
    assert "there is no such plugin" in "".join(here(*words).err + here(*words).out)
    ended = here(*words, "--plugin", "probe.py")
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.slow
def test_the_end_of_the_input_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(_: object) -> None:
        raise EOFError

    monkeypatch.setattr("kernel.cli.main._load_for", asked)
    assert main(["users", "create", "ann"]) == 1
    assert capsys.readouterr().err == "caudex: the input has ended\n"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{' '.join(COMMAND)} routes | true"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


SPECLESS = """
import types
from caudex import Plugin
module = types.ModuleType("specs")
module.tea_made = lambda: None

class ProbePlugin(Plugin):
    name = "probe"
    hookspecs = module
"""
MISTAKES = [
    ("[[server]]\nport = 1", "serve --port 0", "caudex.toml: server must be a table"),
    ("[[server]]\nport = 1", "routes --data-dir x", "caudex.toml: server must be a table"),
    ("server = '0.0.0.0:9100'", "serve --port 0", "caudex.toml: server must be a table"),
    ("server = '0.0.0.0:9100'", "doctor --data-dir x", "caudex.toml: server must be a table"),
    ("plugins = 1", "plugins", "caudex.toml: plugins must be a table"),
    ("[server]\nhost = ''", "config check", "caudex.toml [server]: host: expected str of length"),
    ("[server]\nhost = 'a b'", "serve --port 0", "address a b:0: "),
    ("[server]\nhost = '[::1]'", "serve --port 0", "address [::1]:0: "),
    ("[server]\nhost = '\u00fc..x'", "serve --port 0", "address \u00fc..x:0: "),
    (f"[server]\nhost = '{'x' * 70}.test'", "serve --port 0", f"address {'x' * 70}.test:0: "),
    ("[server]\nmax_requests = 1000000000", "config check", "caudex.toml [server]: max_requests: "),
    (
        "[database]\nstatement_timeout = 3600000",
        "config check",
        "statement_timeout: expected float <=",
    ),
    ("[database]\nlock_timeout = inf", "config check", "lock_timeout: expected float <="),
    ("[database]\npool_timeout = nan", "config check", "pool_timeout: expected float >="),
    ("[database]\nwait = 1e300", "config check", "wait: expected float <="),
    ("", "config check --plugin probe.py", "plugin probe: its hookspecs hold none; mark "),
    ("", f"routes --config {'x' * 300}", f"{'x' * 300}: cannot be read: File name too long; "),
]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "words", "says"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(
    here: Here, tmp_path: Path, text: str, words: str, says: str
) -> None:
    (tmp_path / "caudex.toml").write_text(text)
    (tmp_path / "probe.py").write_text(SPECLESS)
    ended = here(*words.split())
    if words.startswith("doctor"):
        [said] = [line for line in ended.out.splitlines() if line.startswith("  fail")]
        assert (ended.status, ended.err) == (1, "")
        assert f"configuration: {says}" in said
    else:
        assert says in ended.refusal


# --- accounts -------------------------------------------------------------------------------


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """An empty folder that other accounts can enter too, to run commands in.

    What commands import is imported before: another account may not read Python's own files.
    """
    load(load_config(environ={}))
    for name in ("ascii", "idna"):
        codecs.lookup(name)
    with open_folder() as folder:
        monkeypatch.chdir(folder)
        yield folder


@pytest.mark.parametrize("command", ["config check", "routes", "users list", "plugins plan"])
def test_a_configuration_of_another_account_is_one_line(
    here: Here, shared: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It is not taken for none at all: the command would go on with another database."""
    file = shared / "etc" / "caudex.toml"
    file.parent.mkdir()
    file.write_text("")
    monkeypatch.setattr("kernel.config.settings.SEARCH", (Path("caudex.toml"), file))
    with shut(file.parent):
        searched = here(*command.split())
        named = here(*command.split(), "--config", str(file))
    for ended in (searched, named):
        assert ended.refusal == (
            f"{file}: cannot be read: Permission denied; "
            "let this account read it, or name another by --config"
        )
    with shut(file.parent):
        assert here("--help").status == 0


@pytest.mark.slow
def test_doctor_says_whose_the_data_folder_is(here: Here, shared: Path) -> None:
    above = shared / "above"
    data = above / "data"
    data.mkdir(parents=True)
    for folder in (data, above):
        with shut(folder):
            ended = here("doctor", "--data-dir", str(data))
        wrong = [x for x in ended.out.splitlines() if x.startswith("  fail")]
        [first, second] = [x for x in wrong if x.startswith(("  fail   data d", "  fail   keys"))]
        assert first == (
            f"  fail   data directory: {data}: cannot be written; "
            "run as the account that owns it, or choose another with --data-dir"
        )
        assert second == (
            f"  fail   keys: {data / 'config'}: cannot be read: Permission denied; "
            "run as the account that owns it"
        )
        assert (ended.status, ended.err) == (1, "")


@pytest.mark.slow
@pytest.mark.usefixtures("any_port")
def test_doctor_goes_on_after_a_plugin_that_cannot_say_how_it_is(
    configured: Path, here: Here
) -> None:
    for name, body in (("alpha", "return 1 / 0"), ("beta", "return [1]"), ("gamma", "return []")):
        (configured / f"{name}.py").write_text(
            "from caudex import Plugin, hookimpl\n\n"
            f"class P(Plugin):\n    name = {name!r}\n\n"
            f"    @hookimpl\n    def diagnose(self):\n        {body}\n"
        )
    names = ("alpha", "beta", "gamma")
    files = [word for name in names for word in ("--plugin", str(configured / f"{name}.py"))]
    ended = here("doctor", *files)
    assert (ended.status, ended.err) == (1, "")
    wrong = [line for line in ended.out.splitlines() if line.startswith("  fail")]
    assert [line.split(":")[0] for line in wrong] == ["  fail   diagnosis"] * 2
    assert "alpha.py:8: diagnose failed: ZeroDivisionError" in wrong[0]
    assert "plugin beta" in wrong[1]
    assert "ok     workers: python" in ended.out, (
        "the plugins' own remarks are reported all the same"
    )


@pytest.mark.usefixtures("any_port")
def test_a_finding_that_is_a_failure_decides_the_exit_status(configured: Path, here: Here) -> None:
    (configured / "pot.py").write_text(
        "from caudex import Finding, Plugin, hookimpl\n\n"
        "class PotPlugin(Plugin):\n    name = 'pot'\n\n"
        "    @hookimpl\n    def diagnose(self):\n"
        "        return [Finding(name='pot', text='empty', state='fail'),\n"
        "                Finding(name='lid', text='loose', state='warn')]\n"
    )
    ended = here("doctor", "--plugin", str(configured / "pot.py"))
    assert (ended.status, ended.err) == (1, "")
    assert "  fail   pot: empty\n  warn   lid: loose\n" in ended.out


def test_doctor_beside_whatever_the_address_is(here: Here, tmp_path: Path) -> None:
    write_config(tmp_path, {"server": {"host": "::1:", "port": 1}})
    ended = here("doctor", "--data-dir", str(tmp_path / "data"))
    [said, *_] = [line for line in ended.out.splitlines() if line.startswith("  fail")]
    assert said.startswith("  fail   port: address ::1::1: ")
    assert ended.err == ""


# --- database -------------------------------------------------------------------------------


def test_migrate_brings_a_database_up_to_date_once(configured: Path, here: Here) -> None:
    first = here("migrate")
    assert first.status == 0, first.err
    assert "applied auth/0001_initial.sql" in first.out
    assert here("migrate").out == "the database is up to date\n"


AWAY = {
    "postgresql://u:hush@127.0.0.1:1/x": "Connection refused",
    "postgresql://u:hush@nowhere.invalid/x": "nowhere.invalid",
    "postgres//u:hush@h/x": "postgresql://user:password@host/name",
    "postgresql://u:hush@127.0.0.1:99999/x": "invalid port number",
}


@pytest.mark.parametrize("url", AWAY)
@pytest.mark.parametrize("command", ["migrate", "users list"])
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(
    here: Here, tmp_path: Path, command: str, url: str
) -> None:
    write_config(tmp_path, {"database": {"url": url, "wait": 0.3}})
    ended = here(*command.split(), "--data-dir", str(tmp_path / "data"))
    assert ended.refusal.startswith(("database: ", "caudex.toml [database] url: "))
    assert AWAY[url] in ended.refusal
    assert "hush" not in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--workers", "2"]])
def test_a_server_waits_for_its_database_and_then_says_one_line(
    tmp_path: Path, words: list[str]
) -> None:
    url = "postgresql://u:hush@127.0.0.1:1/x"
    write_config(tmp_path, {"database": {"url": url, "wait": 3.0}})
    ended = caudex("serve", "--port", "0", "--data-dir", "data", *words, cwd=tmp_path)
    assert ended.refusal.startswith("database: ")
    assert "waiting for the database" in ended.err
    assert "hush" not in ended.err


def test_a_wrong_account_is_not_waited_for(configured: Path, here: Here, database: str) -> None:
    url = database + " user=no_user_here"
    write_config(configured, {"database": {"url": url, "wait": 60.0}})
    assert "no_user_here" in here("migrate").refusal


# --- refusals of serve ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_port_in_use_is_one_line_with_the_remedy(configured: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        said = caudex_here("serve", "--port", port, cwd=configured).refusal
        assert said.startswith(f"address 127.0.0.1:{port}: address already in use; ")
        assert "--port" in said
        more = caudex("serve", "--port", port, "--workers", "2", cwd=configured).refusal
        assert more == said


def test_an_address_that_is_not_ours_is_one_line(configured: Path, here: Here) -> None:
    said = here("serve", "--host", "203.0.113.7", "--port", "0").refusal
    assert said.startswith("address 203.0.113.7:0: ")


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--workers", "2"]])
def test_a_data_folder_that_cannot_be_made_is_one_line(configured: Path, words: list[str]) -> None:
    (configured / "file").write_text("")
    folder = str(configured / "file" / "data")
    said = caudex("serve", "--port", "0", "--data-dir", folder, *words, cwd=configured).refusal
    assert "--data-dir" in said


@pytest.mark.slow
def test_a_key_other_than_the_databases_is_one_line(configured: Path) -> None:
    with Served(cwd=configured):
        pass
    key = next((configured / "data" / "config").glob("*.key"))
    key.write_text("A" * 43 + "=\n")
    for words in (["serve"], ["serve", "--workers", "2"]):
        ended = caudex(*words, "--port", "0", cwd=configured)
        assert f"key {key.stem}: it is not the key" in ended.refusal


BROKEN = PROBE.replace("        yield\n", "        raise RuntimeError('oh no')\n        yield\n", 1)
FAULTS = {
    "cannot be imported": "raise RuntimeError('broken at import')",
    "it failed to start": BROKEN,
}


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--workers", "2"]])
@pytest.mark.parametrize("says", FAULTS)
def test_a_plugin_that_does_not_start_is_one_line_with_its_name(
    configured: Path, says: str, words: list[str]
) -> None:
    plugin = configured / "probe.py"
    plugin.write_text(FAULTS[says])
    ended = caudex("serve", "--port", "0", "--plugin", str(plugin), *words, cwd=configured)
    assert ended.status == 78
    [reported] = ended.reported
    for word in ("plugin probe", says, "RuntimeError"):
        assert word in reported
    assert ("Traceback" in ended.err) is (says == "it failed to start")  # in the log, as JSON


# --- doctor ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("any_port")
def test_doctor_finds_nothing_wrong_and_changes_nothing(configured: Path, here: Here) -> None:
    ended = here("doctor")
    assert ended.status == 0, ended.out
    for words in ("configuration: caudex.toml", "port: 127.0.0.1:0", "migrations to apply",
                  "data (will be made)", "packages: "):  # fmt: skip
        assert words in ended.out
    assert not (configured / "data").exists()
    here("migrate")
    assert "up to date" in here("doctor").out


@pytest.mark.slow
@pytest.mark.usefixtures("any_port")
def test_doctor_says_that_the_login_may_not_make_roles(
    configured: Path, here: Here, database: str
) -> None:
    said = "this login may not make roles"
    assert said not in here("doctor").out
    sql(database, "create role caudex_plain")
    try:
        plain = make_conninfo(database, options="-c role=caudex_plain")
        write_config(configured, {"database": {"url": plain, "wait": 0.5}})
        ended = here("doctor", "--data-dir", str(configured / "data"))
    finally:
        sql(database, "drop role caudex_plain")
    assert (ended.status, said in ended.out) == (0, True), ended.out


@pytest.mark.slow
@pytest.mark.usefixtures("any_port")
def test_doctor_does_not_start_an_embedded_database(tmp_path: Path, here: Here) -> None:
    ended = here("doctor", "--data-dir", str(tmp_path / "data"))
    assert ended.status == 0
    assert "embedded, not running" in ended.out
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_doctor_finds_that_no_one_gives_a_database(tmp_path: Path, here: Here) -> None:
    (tmp_path / "caudex.toml").write_text("[plugins.postgres]\nenabled = false")
    ended = here("doctor", "--data-dir", str(tmp_path / "data"))
    assert ended.status == 1
    assert "fail   database: database: none is configured" in ended.out
    assert "set [database] url" in here("migrate").refusal


def test_doctor_says_what_is_wrong_and_what_to_do(
    configured: Path, here: Here, database: str
) -> None:
    keys = configured / "data" / "config"
    keys.mkdir(parents=True)
    (keys / "signing.key").write_text("x")
    (keys / "signing.key").chmod(0o644)
    with other_program() as port:
        write_config(
            configured,
            {
                "server": {"port": port, "data_dir": str(configured / "data")},
                "database": {"url": database + " port=1"},
            },
        )
        ended = here("doctor")
    assert ended.status == 1
    wrong = [line for line in ended.out.splitlines() if line.startswith("  fail")]
    assert [line.split(":")[0].split()[-1] for line in wrong] == ["database", "keys", "port"]
    assert "database.url" in wrong[0]
    assert f"chmod 600 {keys / 'signing.key'}" in wrong[1]
    assert "--port" in wrong[2]


@pytest.mark.slow
@pytest.mark.usefixtures("any_port")
def test_a_database_of_a_newer_release_is_said_at_each_look(
    configured: Path, here: Here, database: str
) -> None:
    here("migrate")
    sql(database, "insert into caudex_kernel.migrations values ('audit', '0999_newer.sql', 'sum')")
    assert "unknown audit/0999_newer.sql: a newer release applied it" in here("migrate").out
    assert "warn   migrations: a newer release has applied audit/0999_newer.sql" in (
        here("doctor").out
    )
    with Served(cwd=configured) as server:
        assert "a newer release has migrated this database" in server.err


@pytest.mark.usefixtures("any_port")
def test_doctor_knows_a_data_folder_that_is_a_file(configured: Path, here: Here) -> None:
    (configured / "data").write_text("")
    ended = here("doctor")
    assert ended.status == 1
    assert f"fail   data directory: {configured / 'data'} is a file; choose a folder" in ended.out


@pytest.mark.usefixtures("any_port")
def test_doctor_counts_connections_of_all_processes(
    configured: Path, here: Here, database: str
) -> None:
    assert "ok     connections: this server opens up to 13, PostgreSQL accepts" in (
        here("doctor").out
    )
    write_config(
        configured,
        {
            "server": {"data_dir": str(configured / "data"), "workers": 60},
            "database": {"url": database, "pool_size": 50},
        },
    )
    assert "fail   connections: this server opens up to 3540, PostgreSQL accepts" in (
        here("doctor").out
    )


@pytest.mark.usefixtures("any_port")
def test_doctor_knows_settings_that_lead_nowhere(
    configured: Path, here: Here, database: str
) -> None:
    replica = make_conninfo(database, port=1, connect_timeout=1)
    write_config(
        configured,
        {
            "server": {"data_dir": str(configured / "data")},
            "database": {"url": database, "replica_url": replica},
            "plugins.postgres": {"archive": str(configured / "archive")},
            "plugins.backup": {"folder": str(configured / "not mounted")},
        },
    )
    ended = here("doctor")
    assert "fail   replica: it does not answer: " in ended.out
    assert "warn   archive: [plugins.postgres] archive has no effect" in ended.out
    assert f"fail   backup folder: there is no folder {configured / 'not mounted'}" in ended.out


@pytest.mark.usefixtures("any_port")
def test_doctor_knows_a_replica_that_follows_no_primary(
    configured: Path, here: Here, database: str
) -> None:
    write_config(
        configured,
        {
            "server": {"data_dir": str(configured / "data")},
            "database": {"url": database, "replica_url": database},
        },
    )
    assert "warn   replica: it follows no primary" in here("doctor").out


@pytest.mark.parametrize("url", ["mysql://x", "localhost:5432/x", "postgresql://u:p@ss@h/d"])
def test_config_check_refuses_what_the_start_does(configured: Path, here: Here, url: str) -> None:
    write_config(configured, {"database": {"url": url, "wait": 600}})
    said = here("config", "check").refusal
    assert said.startswith("caudex.toml [database] url: ")
    assert here("serve", "--port", "0").refusal == said


@pytest.mark.slow
@pytest.mark.usefixtures("any_port")
def test_doctor_compares_the_keys_with_the_databases(configured: Path, here: Here) -> None:
    assert here("users", "list").status == 0  # which makes them
    assert here("doctor").status == 0
    for name in ("master", "signing"):
        file = configured / "data" / "config" / f"{name}.key"
        kept = file.read_bytes()
        for content, said in ((None, f"{file} is missing"), (b"ab" * 32, "it is not the key that")):
            file.unlink()
            if content is not None:
                file.touch(0o600)
                file.write_bytes(content)
            ended = here("doctor")
            [wrong] = [line for line in ended.out.splitlines() if line.startswith("  fail")]
            assert f"key {name}: {said}" in wrong
            assert (ended.status, file.exists()) == (1, content is not None)
            file.touch(0o600)
        file.write_bytes(kept)
    assert here("doctor").status == 0


@pytest.mark.slow
def test_doctor_knows_another_server_on_the_port_from_its_own(
    embedded: tuple[Path, Served], here: Here, tmp_path: Path
) -> None:
    folder, server = embedded
    port = {"CAUDEX_SERVER__PORT": server.url.rpartition(":")[2]}
    own = caudex_here("doctor", cwd=folder, env=environment(port))
    assert "ok     port: a Caudex server answers on" in own.out, own.out
    other = caudex_here(
        "doctor", "--data-dir", str(tmp_path / "other"), cwd=tmp_path, env=environment(port)
    )
    assert (other.status, other.reported) == (1, [])
    assert "database: embedded, not running" in other.out
    [wrong] = [line for line in other.out.splitlines() if line.startswith("  fail")]
    assert "the Caudex server that answers there is another one" in wrong
    assert "--port" in wrong


def test_doctor_looks_at_a_broken_configuration(tmp_path: Path, here: Here) -> None:
    (tmp_path / "caudex.toml").write_text("[server]\nprot = 1")
    ended = here("doctor")
    assert ended.status == 1
    assert "fail   configuration: caudex.toml [server]: unknown key 'prot'" in ended.out
    assert "ok     packages" in ended.out


@pytest.mark.usefixtures("any_port")
def test_doctor_and_init_work_where_their_plugin_is_off(tmp_path: Path, here: Here) -> None:
    (tmp_path / "caudex.toml").write_text("[plugins.system]\nenabled = false")
    ended = here("doctor", "--data-dir", str(tmp_path / "data"))
    assert (ended.status, ended.err) == (0, "")
    assert "ok     configuration: caudex.toml" in ended.out
    assert "embedded, not running" in ended.out
    assert here("init", "other.toml").out == "wrote other.toml\n"
    assert here("routes").status == 2


def test_init_works_with_a_broken_configuration(tmp_path: Path, here: Here) -> None:
    (tmp_path / "caudex.toml").write_text("[server\n")
    assert here("init", "other.toml").out == "wrote other.toml\n"


@pytest.mark.slow
def test_doctor_warns_of_open_registration_on_an_open_address(
    configured: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUDEX_SERVER__HOST", "0.0.0.0")
    assert "warn   registration" not in here("doctor").out
    monkeypatch.setenv("CAUDEX_PLUGINS__AUTH__REGISTRATION", "open")
    assert "warn   registration" in here("doctor").out


@pytest.mark.slow
def test_doctor_shows_which_names_are_served(
    configured: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "ok     hosts: localhost\n" in here("doctor").out
    monkeypatch.setenv("CAUDEX_SERVER__TRUSTED_PROXIES", '["127.0.0.1/32"]')
    assert "warn   hosts: only localhost is served" in here("doctor").out
    monkeypatch.setenv("CAUDEX_SERVER__ALLOWED_HOSTS", '["app.example.org"]')
    assert "ok     hosts: localhost, app.example.org" in here("doctor").out
    monkeypatch.setenv("CAUDEX_SERVER__ALLOWED_HOSTS", '["https://app.example.org"]')
    assert "CAUDEX_SERVER__ALLOWED_HOSTS: [0]: expected a name" in here("doctor").out


# --- commands beside a running server -------------------------------------------------------


def post(url: str, body: dict[str, str]) -> httpx.Response:
    """Ask a server that hashes passwords as in production, which takes its time."""
    return httpx.post(url, json=body, timeout=60, verify=NO_TLS)


def test_commands_attach_to_the_database_of_a_running_server(embedded: tuple[Path, Served]) -> None:
    folder, server = embedded
    body = {"username": "alice", "password": "Str0ngPass!x"}
    assert post(f"{server.url}/api/v1/auth/register", body).status_code == 201
    users = caudex_here("users", "list", cwd=folder)
    assert users.status == 0, users.err
    assert "alice" in users.out
    assert users.err == ""
    assert caudex_here("migrate", cwd=folder).out == "the database is up to date\n"
    assert server.get("/health/ready").status_code == 200


def test_a_running_server_shows_an_admin_what_its_hooks_cost(embedded: tuple[Path, Served]) -> None:
    folder, server = embedded
    body = {"username": "alice", "password": "Str0ngPass!x"}
    post(f"{server.url}/api/v1/auth/register", body)
    login = post(f"{server.url}/api/v1/auth/login", body).json()
    port = {"CAUDEX_SERVER__PORT": server.url.rpartition(":")[2]}
    for words, env in (
        ([], {"CAUDEX_TOKEN": login["accessToken"], **port}),
        (["--url", f"{server.url}/", "--token", login["accessToken"]], {}),
    ):
        ended = caudex_here("plugins", *words, cwd=folder, env=environment(env))
        assert (ended.status, ended.err) == (0, "")
        plugins, hooks, *_ = ended.out.split("\n\n")
        [auth] = [line.split() for line in plugins.splitlines() if line.startswith("auth ")]
        assert auth[2] == "on"
        head, *rows = hooks.splitlines()
        assert head.split() == [
            "plugin", "hook", "calls", "refusals", "errors", "breaker", "p50_ms", "p99_ms",
            "last_error",
        ]  # fmt: skip
        [asked] = [row.split() for row in rows if row.startswith("auth ") and "authent" in row]
        assert asked.pop(5) == "closed"
        calls, refusals, errors, p50, p99 = map(float, asked[2:])
        assert (calls >= 1, refusals, errors) == (True, 0, 0)
        assert 0 < p50 <= p99


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "it answers 401"),
        (["--url", "http://127.0.0.1:1"], "it does not list its plugins: "),
        (["--url", "127.0.0.1:1"], "write http://host:port"),
    ],
)
def test_a_server_without_a_list_is_one_line_without_the_token(
    embedded: tuple[Path, Served], words: list[str], says: str
) -> None:
    folder, server = embedded
    env = {"CAUDEX_TOKEN": "hush", "CAUDEX_SERVER__PORT": server.url.rpartition(":")[2]}
    ended = caudex_here("plugins", *words, cwd=folder, env=environment(env))
    assert (ended.status, ended.out) == (1, "")
    [said] = ended.reported
    assert says in said
    assert said.endswith("set CAUDEX_TOKEN to the access token of a core admin")
    assert "hush" not in said


def test_what_needs_no_plugins_works_beside_a_broken_one(
    embedded: tuple[Path, Served], here: Here, tmp_path: Path
) -> None:
    _, server = embedded
    (tmp_path / "caudex.toml").write_text("[plugins.auth]\nmodule = 'gone'\n")
    reported = here("plugins", "--url", server.url, "--token", "hush").reported
    assert len(reported) == 1
    assert "it answers 401" in reported[0]
    for words in (["plugins"], ["routes"], ["users", "list"]):
        assert here(*words).refusal.startswith("plugin auth, gone: cannot be imported: ")
    for words in (["plugins", "--help"], ["users", "--help"]):
        assert here(*words).status == 0


@pytest.mark.slow
def test_the_other_commands_work_beside_a_running_server(embedded: tuple[Path, Served]) -> None:
    folder, server = embedded
    for words in (["plugins"], ["routes"], ["config", "check"], ["init", "other.toml"]):
        ended = caudex_here(*words, cwd=folder)
        assert (ended.status, ended.err) == (0, "")
    port = server.url.rpartition(":")[2]
    ended = caudex_here("doctor", cwd=folder, env=environment({"CAUDEX_SERVER__PORT": port}))
    assert ended.status == 0, ended.out
    assert "a Caudex server answers on" in ended.out
    assert "up to date" in ended.out


def test_a_second_server_on_the_same_data_folder_is_refused(embedded: tuple[Path, Served]) -> None:
    folder, server = embedded
    said = caudex_here("serve", "--port", "0", cwd=folder).refusal
    assert "in use by another Caudex server" in said
    assert server.get("/health/ready").status_code == 200


def test_a_second_server_on_the_same_port_is_refused(embedded: tuple[Path, Served]) -> None:
    folder, server = embedded
    port = server.url.rpartition(":")[2]
    said = caudex_here(
        "serve", "--port", port, "--data-dir", str(folder / "other"), cwd=folder
    ).refusal  # fmt: skip
    assert "address already in use" in said
    assert not (folder / "other").exists()


class _Silent(http.server.BaseHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


@contextmanager
def other_program() -> Generator[int]:
    """Something else that listens on a port."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
