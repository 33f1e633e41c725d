"""`caudex plugins`, `plugins plan`, `routes`, `config check`, `init` and `doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import click
import msgspec

from kernel.public import BootError, Command, LoadedPlugins, OpenServices, Registry

from .client import TOKEN, running_plugins
from .examination.doctor import findings
from .inventory import inventory, warnings_of
from .plan import left_out, plan
from .switching.commands import purge_command

TEMPLATE: Final = Path(__file__).with_name("template.toml")
PLUGIN: Final = ("name", "version", "state", "provides", "requires", "routes", "origin", "note")
HOOK: Final = (
    "plugin",
    "hook",
    "calls",
    "refusals",
    "errors",
    "breaker",
    "p50_ms",
    "p99_ms",
    "last_error",
)
TASK: Final = ("plugin", "name", "state", "failures", "error")
ROUTE: Final = ("method", "path", "plugin", "needs")


def system_commands(registry: Registry, config_file: str) -> list[Command]:
    """Make the commands; they need no database."""
    names: dict[str, Any] = {"multiple": True, "metavar": "NAME"}
    plan = Command(
        name="plan",
        help="show what enabling or disabling plugins would change",
        run=partial(_plan, registry),
        parameters=[
            click.Option(["--disable"], **names, help="disable a plugin; may be repeated"),
            click.Option(["--enable"], **names, help="enable a plugin; may be repeated"),
        ],
        needs_plugins=False,
    )
    plugins = Command(
        name="plugins",
        help="list the plugins, enabled and disabled",
        run=partial(_plugins, registry),
        parameters=[
            click.Option(["--url"], default="", metavar="URL",
                         help="ask this server, and show its hooks' costs"),
            click.Option(["--token"], default="", metavar="TOKEN", envvar="CAUDEX_TOKEN",
                         help="of a core admin; prefer CAUDEX_TOKEN: other accounts can read "
                         "command lines"),
            click.Option(["--json", "as_json"], is_flag=True,
                         help="print JSON, as GET /api/v1/plugins has it"),
        ],
        actions=[plan, purge_command(registry)],
        needs_plugins=False,
    )  # fmt: skip
    routes = Command(name="routes", help="list the routes and what they need",
                     run=partial(_routes, registry))  # fmt: skip
    check = Command(name="check", help="read everything, start nothing",
                    run=partial(_check, registry, config_file))  # fmt: skip
    config = Command(name="config", help="check the configuration", actions=[check])
    return [plugins, routes, config, *_without_configuration(registry, config_file)]


def _without_configuration(registry: Registry, config_file: str) -> list[Command]:
    file = click.Argument(["file"], default="caudex.toml")
    begin = Command(
        name="init",
        help="write a commented caudex.toml",
        run=_init,
        parameters=[file],
        needs_plugins=False,
        needs_configuration=False,
    )
    examine = Command(
        name="doctor",
        help="find what is wrong and say what to do",
        run=partial(_doctor, registry, config_file),
        needs_plugins=False,
        needs_configuration=False,
    )
    return [begin, examine]


async def _doctor(registry: Registry, config_file: str, _: OpenServices) -> int:
    """Print the findings; return 1 if one of them is a failure."""
    status = 0
    async for finding in findings(registry, config_file):
        if finding.state == "fail":
            status = 1
        print(f"  {finding.state:<6} {finding.name}: {finding.text}")
    return status


async def _init(_: OpenServices, *, file: str) -> int:
    _write_template(Path(file))
    print(f"wrote {Path(file)}")
    return 0


def _write_template(path: Path) -> None:
    """Write a commented configuration; never over an existing one."""
    try:
        path.touch(0o600, exist_ok=False)  # it may get keys and passwords
        path.write_text(TEMPLATE.read_text("utf-8"), "utf-8")
    except OSError as error:
        remedy = "choose another folder"
        if path.exists():
            remedy = "name another file"
        raise BootError(str(path), str(error.strerror).lower(), remedy) from None


async def _plan(
    registry: Registry, _: OpenServices, *, disable: Sequence[str], enable: Sequence[str]
) -> int:
    status, lines = plan(registry, disable, enable)
    print("\n".join(lines))
    return status


async def _plugins(
    registry: Registry, _: OpenServices, *, url: str, token: str, as_json: bool
) -> int:
    """Print every plugin that is found; or those of a running server, with what they cost."""
    if as_json:
        print(msgspec.json.format(_encoded(registry, url, token)).decode())
        return 0
    if url or token:
        _print_running(running_plugins(registry, url, token))
    else:
        _print_loaded(registry.with_plugins({}))  # raises where one does not load
    return 0


def _print_loaded(loaded: LoadedPlugins) -> None:
    routes = Counter(plugin for plugin, _ in loaded.routes)
    rows = [{**msgspec.to_builtins(info), "routes": routes[info.name]} for info in loaded.plugins]
    _print_table(PLUGIN, rows)
    for plugin, warnings in warnings_of(loaded.bus.all_implementations()).items():
        print(f"\nwarning: plugin {plugin}: {'; '.join(warnings)}")
    print(f"\nTo see what the hooks of a running server cost, {TOKEN}.")


def _print_running(plugins: Sequence[dict[str, Any]]) -> None:
    _print_table(PLUGIN, [{**plugin, "routes": len(plugin["routes"])} for plugin in plugins])
    for plugin in plugins:
        warnings = plugin.get("warnings")
        if warnings:
            print(f"\nwarning: plugin {plugin['name']}: {'; '.join(warnings)}")

    hooks: list[dict[str, Any]] = []
    tasks: list[dict[str, Any]] = []
    for plugin in plugins:
        hooks += [{"plugin": plugin["name"], **hook} for hook in plugin["hooks"] if hook["calls"]]
        tasks += [{"plugin": plugin["name"], **task} for task in plugin.get("tasks", ())]
    print()
    _print_table(HOOK, hooks)
    if tasks:
        print()
        _print_table(TASK, tasks)


def _encoded(registry: Registry, url: str, token: str) -> bytes:
    """Encode the plugins as `GET /api/v1/plugins` does, also where no server runs."""
    if url or token:
        return msgspec.json.encode(running_plugins(registry, url, token))
    return msgspec.json.encode(inventory(registry.with_plugins({}).services).plugins)


async def _routes(registry: Registry, _: OpenServices) -> int:
    routes = sorted(registry.routes, key=lambda pair: (pair[1].path, pair[1].method))
    rows = [
        {"method": route.method, "path": route.path, "plugin": plugin, "needs": route.needs}
        for plugin, route in routes
    ]
    _print_table(ROUTE, rows)
    return 0


async def _check(registry: Registry, config_file: str, _: OpenServices) -> int:
    """Report that the configuration can be used; the command does not run otherwise."""
    registry.with_plugins({}, to_serve=True)  # raises where `serve` would refuse
    for line in left_out(registry):
        print(line)
    count = sum(info.state == "on" for info in registry.plugins)
    print(f"{config_file or 'the default configuration'} is good: {count} plugins are on")
    return 0


def _print_table(head: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    lines = [head, *([_cell(row[key]) for key in head] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        value = [*cast("dict[str, str]", value).values()]
    if isinstance(value, list | tuple):
        return " ".join(cast("Sequence[str]", value))
    return str(value)
