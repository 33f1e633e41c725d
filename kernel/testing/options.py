"""Options of a test's server: its plugins, configuration and services."""

from __future__ import annotations

import copy
import importlib
import os
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from kernel.config.settings import Config, load_config
from kernel.contracts.base import Provider, ServiceKey
from kernel.contracts.hookspecs import hookimpl
from kernel.hooks.plugin import Plugin

Overrides = Mapping[str, Any]
"""The configuration as a tree: `{"plugins": {"notes": {"shown": 5}}}`."""

PluginLike = type[Plugin] | Path | str
"""A plugin's class, or the path of a one-file plugin."""

STAND_IN = "stand_in"

FEW = {"reads": 1, "filters": 1, "writes": 3}
"""Connections of the pipelined driver: tests start many servers, and each one is a process."""

AUTH = {"rate_limit_logins": False, "registration": "open"}
"""Tests register many users, on a public server, too."""

ACCOUNTS = {"uid_base": 201_000 + os.getpid() % 49 * 1_000, "uid_count": 1_000}
"""Accounts that apps run under, for each process of a run: the processes of one are counted."""

SERVING = "http_server"
"""The built-in plugin that every test's server needs."""

NOTHING = Path(__file__).with_name("nothing.toml")


class MoreOptions(TypedDict, total=False):
    """The options of a server except its configuration; see `ServerOptions`."""

    plugins: Sequence[PluginLike]
    only: Sequence[str] | None
    services: Mapping[ServiceKey[Any], Any]
    dsn: str
    data_dir: Path | None


class ServerOptions(MoreOptions, total=False):
    """The options of a test's server; all are optional.

    `config` is merged over the defaults. `plugins` are enabled in addition to the default ones.
    `only` names the built-in plugins that stay enabled beside the HTTP server, so `[]` leaves no
    other. `services` maps keys to objects that replace their providers. `dsn` shares another
    server's database, `data_dir` its keys.
    """

    config: Overrides


def make_config(overrides: Overrides, url: str, data_dir: Path) -> Config:
    """Build a configuration for a test, without a file, without a rate limit of logins, and with
    open registration.

    Of the environment it reads `CAUDEX_TEST_STATEMENTS` only: the plugin that provides STATEMENTS.
    """
    tree: dict[str, Any] = copy.deepcopy(dict(overrides))
    tree.setdefault("server", {}).setdefault("data_dir", str(data_dir))
    tree["server"].setdefault("port", 0)
    tree.setdefault("database", {}).setdefault("url", url)
    tree["database"].setdefault("pool_size", 6)
    plugins = tree.setdefault("plugins", {})
    provider = os.environ.get("CAUDEX_TEST_STATEMENTS")
    if provider and _enabled(plugins, provider):
        tree.setdefault("services", {}).setdefault("statements", provider)
    defaults = {"auth": AUTH, "workers": ACCOUNTS, "pipeline": FEW}
    for name, settings in defaults.items():
        if _enabled(plugins, name):
            plugins[name] = {**settings, **plugins.get(name, {})}
    flat = {
        f"{section}.{key}": value for section, table in tree.items() for key, value in table.items()
    }
    return load_config(str(NOTHING), environ={}, overrides=flat)


def _enabled(plugins: Mapping[str, Any], name: str) -> bool:
    return plugins.get(name, {}).get("enabled", True) is not False


def overrides_of(options: ServerOptions) -> Overrides:
    """Return the configuration of the options."""
    tree: dict[str, Any] = copy.deepcopy(dict(options.get("config", {})))
    plugins = list(options.get("plugins", ()))
    services = options.get("services")
    if services:
        plugins.append(_stand_in(services))
        tree.setdefault("services", {}).update({key.name: STAND_IN for key in services})
    only = options.get("only")
    if only is not None:
        _switch_off_all_but(only, tree)
    for plugin in plugins:
        _switch_on(plugin, tree)
    return tree


def _switch_on(plugin: PluginLike, tree: dict[str, Any]) -> None:
    if isinstance(plugin, str | Path):
        files: list[str] = tree.setdefault("server", {}).setdefault("plugin_files", [])
        files.append(str(plugin))
    else:
        tree.setdefault("plugins", {}).setdefault(plugin.name, {})["module"] = plugin


def _switch_off_all_but(only: Sequence[str], tree: dict[str, Any]) -> None:
    built_in = importlib.import_module("plugins")
    plugins: dict[str, Any] = tree.setdefault("plugins", {})
    for info in pkgutil.iter_modules(built_in.__path__):
        if info.name not in (*only, SERVING):
            plugins.setdefault(info.name, {})["enabled"] = False
    for name in only:
        plugins.setdefault(name, {})


def _stand_in(services: Mapping[ServiceKey[Any], Any]) -> type[Plugin]:
    """Make a plugin that provides the services of a test."""

    class StandInPlugin(Plugin):
        """Provides the services of a test."""

        name = STAND_IN

        @hookimpl
        def provide_services(self) -> Sequence[Provider]:
            """Provide each object as it is: a part of what its Protocol declares may be enough."""
            return [_as_it_is(key, service) for key, service in services.items()]

    return StandInPlugin


def _as_it_is(key: ServiceKey[Any], service: object) -> Provider:
    def build(_: object) -> object:
        return service

    return Provider(ServiceKey[Any](key.name), build)
