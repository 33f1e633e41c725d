"""Configuration: one TOML file, then the environment, into Structs. Unknown names are errors."""

from __future__ import annotations

import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from kernel.config.convert import convert
from kernel.contracts.server.settings import (
    Configuration,
    DatabaseConfig,
    LogConfig,
    Section,
    ServerConfig,
)
from kernel.errors import BootError, BootErrors, nearest

PREFIX = "CAUDEX_"
SPECIAL = ("CAUDEX_CONFIG", "CAUDEX_DATA_DIR", "CAUDEX_TOKEN", "CAUDEX_URL")
FOR_TESTS = "CAUDEX_TEST_"
"""Prefix of the variables of a test run, which are not configuration."""
SEARCH = (Path("caudex.toml"), Path("/etc/caudex/caudex.toml"))


class Config(Configuration, frozen=True, kw_only=True):
    """The configuration, and what follows from it."""

    @property
    def data_dir(self) -> Path:
        """The absolute folder of keys, files and the embedded database."""
        return Path(self.server.data_dir) if self.server.data_dir else default_data_dir()

    @property
    def loopback(self) -> bool:
        """Whether the server can only be reached from its own machine."""
        with suppress(ValueError):
            return ip_address(self.server.host).is_loopback
        return self.server.host == "localhost"

    @property
    def public(self) -> bool:
        """Whether other machines can reach the server, directly or through a proxy."""
        return not self.loopback or bool(self.server.trusted_proxies)

    def replaced(self, section: str, **values: Any) -> Config:
        """Return the configuration with other values in a section."""
        changed = msgspec.structs.replace(getattr(self, section), **values)
        return msgspec.structs.replace(self, **{section: changed})


class ConfigErrors(BootErrors):
    """The errors of a configuration, and the valid rest of it, which can be examined."""

    def __init__(self, errors: Sequence[BootError], rest: Config) -> None:
        super().__init__(errors)
        self.rest = rest


def default_data_dir() -> Path:
    """`/var/lib/caudex` as root, else `caudex` in the XDG data folder (basedir spec 0.8)."""
    if os.geteuid() == 0:
        return Path("/var/lib/caudex")
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "caudex"


def load_config(
    path: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Read the first of `path`, `CAUDEX_CONFIG`, ./caudex.toml, /etc/caudex/caudex.toml.

    `overrides` (`{"server.port": 9200}`) come from the command line. Raises BootErrors, each with
    the place and what to write instead.
    """
    env = os.environ if environ is None else environ
    source, tree = _read(path or env.get("CAUDEX_CONFIG"))
    errors: list[BootError] = []
    variables = _lay_over(tree, env, errors)
    for key, value in (overrides or {}).items():
        if value is not None:
            _put(tree, key.split(".", 1), value)
            section, _, name = key.rpartition(".")
            variables[section].pop(name, None)
    config = _build(tree, source, variables, errors)
    # Absolute from here on: plugins start processes in other working directories.
    named = config.server.data_dir
    folder = str(Path(os.path.expanduser(named)).absolute()) if named else ""
    config = config.replaced("server", data_dir=folder)
    if errors:
        raise ConfigErrors(errors, config)
    return config


def _read(named: str | None) -> tuple[str, dict[str, Any]]:
    """Return the path and the content of the configuration; ('', {}) without one."""
    for path in [Path(named)] if named else SEARCH:
        try:
            return str(path), tomllib.loads(path.read_text("utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # not ignored: the default would be another database
            remedy = "let this account read it, or name another by --config"
            raise BootError(str(path), f"cannot be read: {error.strerror}", remedy) from None
        except ValueError as error:
            raise BootError(str(path), f"cannot be read: {error}") from None
    if named:
        raise BootError("config", f"there is no file {named}", "`caudex init` writes one")
    return "", {}


def _lay_over(
    tree: dict[str, Any], env: Mapping[str, str], errors: list[BootError]
) -> defaultdict[str, dict[str, str]]:
    """Replace values by those of `CAUDEX_<SECTION>__<KEY>` and `..._FILE`. Returns the variable of
    each such key."""
    variables = defaultdict[str, dict[str, str]](dict)
    url = env.get("DATABASE_URL")
    if url and _put(tree, ["database", "url"], url, over=False):
        variables["database"]["url"] = "DATABASE_URL"
    folder = env.get("CAUDEX_DATA_DIR")
    if folder:
        _put(tree, ["server", "data_dir"], folder)
    for name, text in sorted(env.items()):
        if not name.startswith(PREFIX) or name in SPECIAL or name.startswith(FOR_TESTS):
            continue
        parts = [part.lower() for part in name.removeprefix(PREFIX).split("__")]
        stem = [*parts[:-1], parts[-1].removesuffix("_file")]
        if not _is_known(stem):
            errors.append(BootError(name, "unknown variable", _suggest_variable(name)))
            continue
        try:
            names_file = stem != parts
            content = Path(text).read_text("utf-8").strip() if names_file else text
            _put(tree, stem, _decode_value(content))
            variables[".".join(stem[:-1])][stem[-1]] = name
        except (OSError, UnicodeDecodeError) as error:
            errors.append(BootError(name, f"cannot be read: {error}", "name a readable file"))
    return variables


def _is_known(parts: list[str]) -> bool:
    """Whether a variable names a setting; a plugin's keys are checked once it is loaded."""
    section, *keys = parts
    if section in SECTIONS:
        return len(keys) == 1 and keys[0] in SECTIONS[section].__struct_fields__
    if section == "services":
        return len(keys) == 1 and keys[0] != ""
    return section == "plugins" and len(keys) >= 2 and all(keys)


def _put(tree: dict[str, Any], parts: list[str], value: object, *, over: bool = True) -> bool:
    """Set a key; replace a value only with `over`. Returns whether it was set."""
    table = tree
    for part in parts[:-1]:
        inner: Any = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return False  # an error of the file, reported with its place
        table = cast("dict[str, Any]", inner)
    key = parts[-1]
    if not over and table.get(key):
        return False
    table[key] = value
    return True


def _decode_value(text: str) -> object:
    """Decode lists and tables, which are JSON; other text is converted once its type is known."""
    if text[:1] not in "[{":
        return text
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(text)
    return text


def _suggest_variable(name: str) -> str:
    variables = list(SPECIAL)
    for section, struct in SECTIONS.items():
        variables += [f"{PREFIX}{section}__{key}".upper() for key in struct.__struct_fields__]
    return nearest(name, variables)


SECTIONS: dict[str, type[Section]] = {
    "server": ServerConfig, "database": DatabaseConfig, "log": LogConfig,
}  # fmt: skip


def _build(
    tree: dict[str, Any],
    source: str,
    variables: Mapping[str, Mapping[str, str]],
    errors: list[BootError],
) -> Config:
    place = source or "configuration"
    parts: dict[str, Any] = {"source": source, "variables": variables}
    for name, value in tree.items():
        where = f"{place} [{name}]"
        if name not in (*SECTIONS, "services", "plugins"):
            remedy = nearest(name, (*SECTIONS, "services", "plugins"))
            errors.append(BootError(place, f"unknown section [{name}]", remedy))
        elif not isinstance(value, dict):
            errors.append(BootError(place, f"{name} must be a table", f"write [{name}]"))
        elif name in SECTIONS:
            table = cast("dict[str, object]", value)
            try:
                parts[name] = convert(table, SECTIONS[name], where, variables.get(name, {}))
            except BootError as error:
                errors.append(error)
                valid = {
                    key: member for key, member in table.items() if _is_valid(name, key, member)
                }
                parts[name] = convert(valid, SECTIONS[name], where, {})
        else:
            kind: type[Any] = dict if name == "plugins" else str
            description = "a table" if name == "plugins" else "a plugin's name"
            parts[name] = {}
            for key, entry in cast("dict[str, Any]", value).items():
                if isinstance(entry, kind):
                    parts[name][key] = entry
                else:
                    errors.append(BootError(where, f"{key} must be {description}"))
    config = Config(**parts)
    for section, key, problem, remedy in _find_faults(config):
        where = variables.get(section, {}).get(key, f"{place} [{section}] {key}")
        errors.append(BootError(where, problem, remedy))
    return config


def _is_valid(section: str, key: str, value: object) -> bool:
    with suppress(BootError):
        return bool(convert({key: value}, SECTIONS[section], "", {}))
    return False


def _find_faults(config: Config) -> Iterator[tuple[str, str, str, str]]:
    """Yield section, key, problem and remedy for rules that types cannot express."""
    for network in config.server.trusted_proxies:
        try:
            ip_network(network)
        except ValueError as error:
            yield "server", "trusted_proxies", str(error), 'write CIDRs: ["10.0.0.0/8"]'
    for key in ("url", "direct_url", "replica_url"):
        url = getattr(config.database, key)
        problem = url_problem(url) if url else None
        if problem is not None:
            shape = "postgresql://user:password@host/name"
            yield "database", key, problem, f"write {shape}, and % @ / ? in it as %25 %40 %2F %3F"


def url_problem(url: str) -> str | None:
    """Return the error of a libpq connection string, without any of its values: if a password is
    not encoded, any part can be a piece of the password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        return re.sub('".*"', '"…"', str(error).strip(), flags=re.DOTALL)
    if "@" in str(parts.get("host") or "")[1:]:  # a name that begins with @ is an abstract socket
        return "it has more than one @"
    digits = re.fullmatch(r"[\d,\s]*", str(parts.get("port") or ""))
    return None if digits else "its port is no number"
