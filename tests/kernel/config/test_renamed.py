"""Settings whose names changed: the old name works, with one warning."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from kernel.config import convert as module
from kernel.config.convert import convert
from kernel.config.settings import Section, load_config
from kernel.errors import BootError
from kernel.loading.loader import load
from tests.kernel.config.test_config import environment


class Example(Section, frozen=True, kw_only=True):
    renamed: ClassVar[Mapping[str, str]] = {"poll": "poll_interval"}
    poll_interval: float = 1.0


@pytest.fixture(autouse=True)
def _forget_warnings() -> Iterator[None]:
    module._warn_renamed.cache_clear()
    yield
    module._warn_renamed.cache_clear()


def warning(old: str) -> dict[str, str]:
    text = "a setting has a new name"
    names = {"where": "[plugins.x]", "old": old, "use": "poll_interval", "until": "0.3"}
    return {"event": text, "log_level": "warning", **names}


def read(table: dict[str, object], variables: dict[str, str] | None = None) -> tuple[Any, Any]:
    """Return the configuration and the warnings."""
    with capture_logs() as logs:
        config = convert(table, Example, "[plugins.x]", variables or {})
    return config, logs


def test_an_old_name_works_with_one_warning() -> None:
    assert read({"poll": 2}) == (Example(poll_interval=2), [warning("poll")])
    assert read({"poll": 3}) == (Example(poll_interval=3), [])


def test_the_new_name_works_without_a_warning() -> None:
    assert read({"poll_interval": 2}) == (Example(poll_interval=2), [])


@pytest.mark.parametrize("keys", [("poll", "poll_interval"), ("poll_interval", "poll")])
def test_both_names_together_are_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(BootError) as error:
        read(dict.fromkeys(keys, 2), {"poll": "CAUDEX_PLUGINS__X__POLL"})
    problem = "'poll' is the old name of 'poll_interval', and both have a value; remove 'poll'"
    assert str(error.value) == f"CAUDEX_PLUGINS__X__POLL: {problem}"


def test_a_variable_of_the_old_name_is_named_in_a_warning_and_in_an_error() -> None:
    variables = {"poll": "CAUDEX_PLUGINS__X__POLL"}
    assert read({"poll": "2"}, variables)[1] == [warning("CAUDEX_PLUGINS__X__POLL")]
    with pytest.raises(BootError) as error:
        read({"poll": "often"}, variables)
    assert str(error.value) == "CAUDEX_PLUGINS__X__POLL: expected float, got str"


def test_an_old_name_is_not_suggested_for_an_unknown_key() -> None:
    with pytest.raises(BootError, match="did you mean 'poll_interval'"):
        read({"poll_intervall": 1})


RENAMED = [
    ("apps", "queue", "install_queue_timeout", "5"),
    ("auth", "throttle", "rate_limit_logins", "false"),
    ("cron", "poll", "poll_interval", "5"),
    ("identity_header", "create", "auto_create_users", "false"),
    ("jobs", "grace", "cancel_grace", "5"),
    ("jobs", "poll", "poll_interval", "5"),
    ("oidc", "create", "auto_create_users", "false"),
]
REQUIRED = {
    "CAUDEX_PLUGINS__IDENTITY_HEADER__SECRET": "s" * 32,
    "CAUDEX_PLUGINS__OIDC__ISSUER": "https://id.example",
    "CAUDEX_PLUGINS__OIDC__CLIENT_ID": "caudex",
    "CAUDEX_PLUGINS__OIDC__CLIENT_SECRET": "secret",
    "CAUDEX_PLUGINS__OIDC__PUBLIC_URL": "https://caudex.example",
}


@pytest.mark.parametrize(("plugin", "old", "new", "value"), RENAMED)
def test_a_renamed_setting_of_a_plugin_is_read_from_its_old_variable(
    plugin: str, old: str, new: str, value: str
) -> None:
    needed = {key: text for key, text in REQUIRED.items() if f"__{plugin}__".upper() in key}
    variables = needed | {f"CAUDEX_PLUGINS__{plugin}__{old}".upper(): value}
    if plugin == "identity_header":  # it takes the place of auth
        variables["CAUDEX_PLUGINS__AUTH__ENABLED"] = "false"
    with capture_logs() as logs:
        kernel = load(environment(**variables))
    [instance] = [each for each in kernel.instances if each.name == plugin]
    assert getattr(instance.config, new) == {"5": 5.0, "false": False}[value]
    assert [line["use"] for line in logs if "use" in line] == [new]
    [info] = [info for info in kernel.plugins if info.name == plugin]
    assert new in info.configured
    assert old not in info.configured


MOVED = [
    ("database_address", "address", "db.example", "db.example"),
    ("database_connections", "connections", "7", 7),
    ("database_transaction", "transaction_timeout", "60", 60.0),
]


@pytest.mark.parametrize("source", ["file", "variable"])
@pytest.mark.parametrize(("old", "new", "text", "value"), MOVED)
def test_a_setting_that_moved_to_another_plugin_is_read_from_its_old_table(
    tmp_path: Path, source: str, old: str, new: str, text: str, value: object
) -> None:
    variable = f"CAUDEX_PLUGINS__WORKERS__{old}".upper()
    file = tmp_path / "caudex.toml"
    file.write_text(f"[plugins.workers]\n{old} = '{text}'\n" if source == "file" else "")
    config = load_config(str(file), environ={variable: text} if source == "variable" else {})
    with capture_logs() as logs:
        kernel = load(config)
        load(config)
    [logins] = [each for each in kernel.instances if each.name == "app_logins"]
    assert getattr(logins.config, new) == value
    [line] = [line for line in logs if "use" in line]
    assert line["use"] == f"app_logins.{new}"
    assert line["old"] == (old if source == "file" else variable)
    infos = {info.name: info for info in kernel.plugins}
    assert (infos["app_logins"].configured, infos["workers"].configured) == ((new,), ())


def test_a_setting_that_moved_is_refused_beside_its_new_name() -> None:
    both = {"CAUDEX_PLUGINS__WORKERS__DATABASE_CONNECTIONS": "7",
            "CAUDEX_PLUGINS__APP_LOGINS__CONNECTIONS": "8"}  # fmt: skip
    with pytest.raises(BootError) as error:
        load(environment(**both))
    assert str(error.value) == (
        "CAUDEX_PLUGINS__WORKERS__DATABASE_CONNECTIONS: 'database_connections' is the old name of "
        "'app_logins.connections', and both have a value; remove 'database_connections'"
    )


def test_a_wrong_value_of_a_setting_that_moved_names_its_variable() -> None:
    with pytest.raises(BootError) as error:
        load(environment(CAUDEX_PLUGINS__WORKERS__DATABASE_CONNECTIONS="many"))
    assert str(error.value).startswith("CAUDEX_PLUGINS__WORKERS__DATABASE_CONNECTIONS: ")
