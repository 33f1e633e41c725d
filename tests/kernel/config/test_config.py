"""Configuration: where values come from, and what is said about those that cannot be."""

from pathlib import Path
from typing import Any

import pytest

from kernel.config.settings import Config, load_config
from kernel.errors import BootError
from kernel.loading.loader import load


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    """Read a configuration from text."""

    def read(text: str, environ: dict[str, str] | None = None, **more: Any) -> Config:
        path = tmp_path / "caudex.toml"
        path.write_text(text)
        return load_config(str(path), environ or {}, **more)

    return read


def refused(*args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(BootError) as caught:
        load_config(*args, **kwargs)
    return str(caught.value).splitlines()


def environment(**variables: str) -> Config:
    return load_config(environ=variables)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a caudex.toml."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)


def test_defaults_need_nothing() -> None:
    config = load_config(environ={})
    assert (config.server.host, config.server.port) == ("127.0.0.1", 9100)
    assert config.database.url == ""
    assert config.loopback


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(toml: Any) -> None:
    text = "[server]\nport = 1\nhost = 'a'\nworkers = 2"
    environ = {"CAUDEX_SERVER__PORT": "2", "CAUDEX_SERVER__HOST": "b"}
    config = toml(text, environ, overrides={"server.port": 3, "server.workers": None})
    assert (config.server.port, config.server.host, config.server.workers) == (3, "b", 2)


def test_the_file_is_found_in_the_folder_or_by_a_variable(tmp_path: Path) -> None:
    Path("caudex.toml").write_text("[server]\nport = 7")
    assert load_config(environ={}).server.port == 7
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 8")
    assert environment(CAUDEX_CONFIG=str(other)).server.port == 8


@pytest.mark.parametrize("named", ["data", "./data", "~/data", "/data"])
def test_the_data_folder_is_absolute_wherever_it_is_named(
    toml: Any, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/home/of")
    expected = {"~/data": "/home/of/data", "/data": "/data"}.get(named, f"{Path.cwd()}/data")
    read = [
        toml(f"[server]\ndata_dir = '{named}'"),
        environment(CAUDEX_DATA_DIR=named),
        environment(CAUDEX_SERVER__DATA_DIR=named),
        load_config(environ={}, overrides={"server.data_dir": named}),
    ]
    monkeypatch.chdir(tmp_path)  # it stays where it was when the server started
    assert {str(config.data_dir) for config in read} == {expected}


def test_a_file_that_is_not_there() -> None:
    assert refused("none.toml", {}) == [
        "config: there is no file none.toml; `caudex init` writes one"
    ]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "caudex.toml"
    path.write_text("[server]\nport = 7", "utf-8-sig")
    assert load_config(str(path), {}).server.port == 7


def test_a_file_that_is_no_toml(toml: Any) -> None:
    with pytest.raises(BootError, match=r"caudex\.toml: cannot be read: .*line 2"):
        toml("[server]\nport = = 1")


@pytest.mark.parametrize(
    ("cores", "url", "count"), [(1, "", 1), (4, "", 3), (4, "postgresql://x", 4), (200, "", 64)]
)
def test_auto_is_a_process_for_each_core(
    toml: Any, monkeypatch: pytest.MonkeyPatch, cores: int, url: str, count: int
) -> None:
    monkeypatch.setattr("kernel.contracts.server.settings._count_cores", lambda: cores)
    config = toml(f"[server]\nworkers = 'auto'\n[database]\nurl = '{url}'")
    assert config.process_count == count
    assert toml("[server]\nworkers = 2").process_count == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1", "[server]: unknown key 'prot'; did you mean 'port'?"),
        ("[servr]\nport = 1", ": unknown section [servr]; did you mean 'server'?"),
        ("source = 'x'", ": unknown section [source]; known: "),
        ("server = 1", ": server must be a table; write [server]"),
        ("[server]\nport = 'http'", "[server]: port: expected int, got str"),
        ("[server]\nport = 70000", "[server]: port: expected int <= 65535"),
        ("[server]\nworkers = 0", "[server]: workers: expected int >= 1"),
        ("[server]\nmax_requests = 0", "[server]: max_requests: expected int >= 1"),
        (
            "[server]\ncors_origins = ['null']",
            "[server]: cors_origins[0]: expected an exact origin without a path or",
        ),
        ("[server]\ncors_origins = ['https://*.x.org']", "[server]: cors_origins[0]: expected an"),
        ("[server]\nallowed_hosts = ['a:1']", "[server]: allowed_hosts[0]: expected a name or an"),
        ("variables = {}", ": unknown section [variables]; known: "),
        ("[server]\ntrusted_proxies = ['10.0.0.0/99']", "[server] trusted_proxies: '10.0.0.0/99'"),
        ("[database]\npool_size = 0", "[database]: pool_size: expected int >= 1"),
        ("[database]\nlock_timeout = -1", "[database]: lock_timeout: expected float >= 0.0"),
        ("[log]\nlevel = 'loud'", "[log]: level: invalid enum value 'loud'; write one of debug, "),
        ("[services]\nvault = 1", "[services]: vault must be a plugin's name"),
        ("[plugins]\naudit = true", "[plugins]: audit must be a table"),
        ("plugins = []", ": plugins must be a table; write [plugins]"),
    ],
)
def test_what_a_file_cannot_say(toml: Any, text: str, said: str) -> None:
    with pytest.raises(BootError) as caught:
        toml(text)
    [line] = str(caught.value).splitlines()
    assert "caudex.toml" in line
    assert said in line


def test_all_mistakes_are_reported_at_once(toml: Any) -> None:
    with pytest.raises(BootError) as caught:
        toml(
            "[server]\nprot = 1\nhots = 'x'\nport = 'y'\n[data]\nx = 1\n",
            {"CAUDEX_X": "1", "CAUDEX_LOG__LEVEL_FILE": "/none"},
        )
    assert len(str(caught.value).splitlines()) == 6


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CAUDEX_SERVER__PROT", "CAUDEX_SERVER__PORT"),
        ("CAUDEX_SERVER_PORT", "CAUDEX_SERVER__PORT"),
        ("CAUDEX_DATABASE_URL", "CAUDEX_DATABASE__URL"),
        ("CAUDEX_DATBASE__URL", "CAUDEX_DATABASE__URL"),
        ("CAUDEX_DATA_DIRR", "CAUDEX_DATA_DIR"),
        ("CAUDEX_DATABASE__URL__X", "CAUDEX_DATABASE__URL"),
        ("CAUDEX_SERVER__PORT__FILE", "CAUDEX_SERVER__PORT"),
    ],
)
def test_an_unknown_variable_is_reported_with_the_nearest_known_one(
    name: str, nearest: str
) -> None:
    [said] = refused(environ={name: "1"})
    assert said == f"{name}: unknown variable; did you mean {nearest!r}?"


@pytest.mark.parametrize("name", ["CAUDEX_", "CAUDEX_PLUGINS__AUDIT", "CAUDEX_SOURCE", "CAUDEX_X"])
def test_a_variable_that_means_nothing(name: str) -> None:
    [said] = refused(environ={name: "1"})
    assert said.startswith(f"{name}: unknown variable")


def test_variables_of_others_and_of_tests_do_not_matter() -> None:
    environment(HOME="/", CAUDEXX="1", CAUDEX_TEST_DATABASE_URL="x")


def test_a_plugin_is_configured_by_variables() -> None:
    config = environment(
        CAUDEX_PLUGINS__AUDIT__KEEP_MONTHS="12",
        CAUDEX_PLUGINS__AUTH__PROVIDERS='[{"name": "x"}]',
        CAUDEX_SERVICES__VAULT="vault_file",
    )
    assert config.plugins == {
        "audit": {"keep_months": "12"},
        "auth": {"providers": [{"name": "x"}]},
    }
    assert config.services == {"vault": "vault_file"}


def test_a_value_is_read_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://somewhere\n")
    config = environment(
        CAUDEX_DATABASE__URL_FILE=str(secret), CAUDEX_PLUGINS__VAULT__MASTER_KEY_FILE=str(secret)
    )
    assert config.database.url == "postgresql://somewhere"
    assert config.plugins == {"vault": {"master_key": "postgresql://somewhere"}}


@pytest.mark.parametrize("path", ["/no/such/file", "/"])
def test_a_value_whose_file_cannot_be_read(path: str) -> None:
    [said] = refused(environ={"CAUDEX_DATABASE__URL_FILE": path})
    assert said.startswith("CAUDEX_DATABASE__URL_FILE: cannot be read: ")
    assert said.endswith("name a readable file")


def test_variables_do_not_fall_over_a_broken_file(toml: Any) -> None:
    environ = {
        "DATABASE_URL": "host=x", "CAUDEX_DATA_DIR": "y", "CAUDEX_PLUGINS__AUDIT__KEEP_MONTHS": "1",
    }  # fmt: skip
    with pytest.raises(BootError, match="must be a table"):
        toml("database = 1\nserver = 2\nplugins = 3", environ)


def test_database_url_is_what_platforms_call_it(toml: Any) -> None:
    environ = {"DATABASE_URL": "host=platform"}
    assert load_config(environ=environ).database.url == "host=platform"
    assert toml("[database]\nurl = 'host=mine'", environ).database.url == "host=mine"
    assert toml("[database]\nurl = ''", environ).database.url == "host=platform"
    environ["CAUDEX_DATABASE__URL"] = "host=named"
    assert load_config(environ=environ).database.url == "host=named"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CAUDEX_SERVER__PORT", "abc", "expected int, got str"),
        ("CAUDEX_LOG__LEVEL", "loud", "invalid enum value 'loud'; write one of debug, info, "),
        ("CAUDEX_SERVER__CORS_ORIGINS", '["null"]', "[0]: expected an exact origin"),
        ("CAUDEX_SERVER__TRUSTED_PROXIES", '["x"]', "'x' does not appear to be"),
        (
            "CAUDEX_DATABASE__DIRECT_URL",
            "x",
            'missing "…" in connection info string; write postgresql://',
        ),
        ("DATABASE_URL", "mysql://x", 'missing "…" in connection info string; write p'),
        ("CAUDEX_PLUGINS__AUTH__REGISTRATION", "all", "invalid enum value 'all'; write one of "),
        ("CAUDEX_PLUGINS__AUTH__REGISTRATON", "open", "unknown key 'registraton'; did you mean"),
    ],
)
def test_a_mistake_in_a_variable_is_reported_with_its_name(
    toml: Any, name: str, value: str, said: str
) -> None:
    with pytest.raises(BootError) as caught:
        load(toml("[server]\nport = 1\n[plugins.auth]\nregistration = 'open'", {name: value}))
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{name}: {said}")


def test_the_command_line_takes_the_blame_from_a_variable(toml: Any) -> None:
    with pytest.raises(BootError, match=r"caudex\.toml \[server\]: port: "):
        toml("", {"CAUDEX_SERVER__PORT": "1"}, overrides={"server.port": 70_000})


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.9", True), ("::1", True), ("0.0.0.0", False), ("x", False)],
)
def test_which_addresses_are_this_machines_own(host: str, loopback: bool) -> None:
    assert load_config(environ={}, overrides={"server.host": host}).loopback is loopback
