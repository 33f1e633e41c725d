"""`caudex plugins`, `plugins plan`, `routes`, `config check`, `init` and `doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import click
import msgspec

from kernel.public import BootError, Command, OpenServices, Registry

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
    failed = False
    async for finding in findings(registry, config_file):
        failed |= finding.state == "fail"
        print(f"  {finding.state:<6} {finding.name}: {finding.text}")
    return int(failed)


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
        remedy = "name another file" if path.exists() else "choose another folder"
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
    if not url and not token:
        loaded = registry.with_plugins({})  # raises where one does not load
        routes = Counter(plugin for plugin, _ in loaded.routes)
        _table(
            PLUGIN, [{**msgspec.to_builtins(p), "routes": routes[p.name]} for p in loaded.plugins]
        )
        for plugin, said in warnings_of(loaded.bus.all_implementations()).items():
            print(f"\nwarning: plugin {plugin}: {'; '.join(said)}")
        print(f"\nTo see what the hooks of a running server cost, {TOKEN}.")
        return 0
    plugins = running_plugins(registry, url, token)
    _table(PLUGIN, [{**plugin, "routes": len(plugin["routes"])} for plugin in plugins])
    for plugin in plugins:
        if said := plugin.get("warnings"):
            print(f"\nwarning: plugin {plugin['name']}: {'; '.join(said)}")
    hooks = [{"plugin": plugin["name"], **hook} for plugin in plugins for hook in plugin["hooks"]]
    print()
    _table(HOOK, [hook for hook in hooks if hook["calls"]])
    if tasks := [{"plugin": p["name"], **task} for p in plugins for task in p.get("tasks", ())]:
        print()
        _table(TASK, tasks)
    return 0


def _encoded(registry: Registry, url: str, token: str) -> bytes:
    """Encode the plugins as `GET /api/v1/plugins` does, also where no server runs."""
    if url or token:
        return msgspec.json.encode(running_plugins(registry, url, token))
    return msgspec.json.encode(inventory(registry.with_plugins({}).services).plugins)


async def _routes(registry: Registry, _: OpenServices) -> int:
    found = sorted(registry.routes, key=lambda pair: (pair[1].path, pair[1].method))
    _table(
        ROUTE,
        [dict(zip(ROUTE, (r.method, r.path, plugin, r.needs), strict=True)) for plugin, r in found],
    )
    return 0


async def _check(registry: Registry, config_file: str, _: OpenServices) -> int:
    """Report that the configuration can be used; the command does not run otherwise."""
    registry.with_plugins({}, to_serve=True)  # raises where `serve` would refuse
    on = sum(info.state == "on" for info in registry.plugins)
    print(*left_out(registry), sep="\n", end="\n" if left_out(registry) else "")
    print(f"{config_file or 'the default configuration'} is good: {on} plugins are on")
    return 0


def _table(head: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    lines = [head, *([_cell(row[key]) for key in head] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = [*cast("dict[str, str]", value).values()]
    if isinstance(value, list | tuple):
        return " ".join(cast("Sequence[str]", value))
    return "" if value is None else str(value)
