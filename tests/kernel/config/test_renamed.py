"""Settings whose names changed: the old name works, with one warning."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec
import pytest
from structlog.testing import capture_logs

from kernel.config import convert as module
from kernel.config.convert import convert
from kernel.config.settings import Section
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
    names = {"where": "[plugins.x]", "old": old, "use": "poll_interval"}
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


def test_the_promised_name_of_a_setting_of_auth_works() -> None:
    variables = {"CAUDEX_PLUGINS__AUTH__THROTTLE": "false"}
    with capture_logs() as logs:
        kernel = load(environment(**variables))
    [auth] = [plugin for plugin in kernel.instances if plugin.name == "auth"]
    assert msgspec.structs.asdict(auth.config)["rate_limit_logins"] is False
    assert [line["use"] for line in logs if "use" in line] == ["rate_limit_logins"]
    [info] = [info for info in kernel.plugins if info.name == "auth"]
    assert "rate_limit_logins" in info.configured
    assert "throttle" not in info.configured
