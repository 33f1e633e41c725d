"""The page of the hooks."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import iscoroutinefunction
from types import ModuleType
from typing import Any

from docs.pages.code import ROOT, doc, modules, plugin_classes, signature
from kernel.contracts import hookspecs
from kernel.loading.kernel import Kernel

HEAD = """# Hooks

A plugin implements a hook as a method with the hook's name and the mark `@hookimpl`. The method
names the arguments that it wants, and is sync or async as the hook is declared. These mistakes stop
the start, with file and line: a misspelt or unmarked hook, a wrong argument, and `def` where
`async def` is declared (or the reverse).

Each hook of the kernel has a complete plugin as an example; the tests run all of them.
"""
LOAD = ("at the load of each process and command", "each process", "once for each load", "")
START = ("at the start", "each server process", "once for each start")

IN_TX = ("in the transaction, before its commit", "the process of the request",
         "exactly once for each commit, again where the transaction is repeated")  # fmt: skip
NOT_SQL = "does not reach it: only triggers see that"
FACTS: Mapping[str, tuple[str, str, str, str]] = {
    "provide_services": LOAD,
    "register_routes": LOAD,
    "register_middleware": LOAD,
    "register_permissions": LOAD,
    "register_commands": LOAD,
    "register_manifest_section": LOAD,
    "plugins_loaded": LOAD,
    "diagnose": ("at `caudex doctor`", "the process of the command", "once", ""),
    "address_binding": ("before the address is bound", "the parent of all processes",
                        "once for each start", ""),
    "lifespan": (*START, ""),
    "register_runtimes": (*START, ""),
    "app_of_host": ("before each request whose `Host` is new", "the process of the request",
                    "once for each value of `Host` that is remembered", ""),
    "authenticate": ("before a route that is not public", "the process of the request",
                     "at most once for each request; again after a slow body", ""),
    "session_settings": ("before each write", "the process of the request",
                         "at least once for each write", NOT_SQL),
    "record_scope": ("before each read, update and delete of records",
                     "the process of the request", "at least once for each request", NOT_SQL),
    "record_writing": (*IN_TX, NOT_SQL),
    "event_recorded": (*IN_TX, NOT_SQL),
    "event_committed": ("after the commit, before the reply", "the process of the request",
                        "at most once: lost by a crash, an open breaker or either time-out",
                        NOT_SQL),
    "app_planning": ("when a plan is asked for, and in each install before its tables change",
                     "the process of the request", "once for each plan and each install", ""),
    "app_changing": (*IN_TX, ""),
    "app_installing": (*IN_TX, ""),
    "app_removing": (*IN_TX, ""),
    "account_created": (*IN_TX, ""),
    "account_closing": (*IN_TX, ""),
    "worker_environment": ("before a worker starts", "the process that runs the worker",
                           "once for each start of a replica", ""),
    "health": ("when `/health/ready` or the status is requested",
               "the process of the request", "at most once for each round", ""),
}  # fmt: skip
"""When, in which process, how often, and whether SQL of a worker reaches it."""
ORDER = "plugins in the order of what they need; providers come first"
EXAMPLES = ROOT / "examples" / "hooks"


def page(kernel: Kernel) -> str:
    """Every hook of the kernel, then those that plugins own."""
    parts = [HEAD, doc(hookspecs).split("\n\n", 1)[1], "## Hooks of the kernel"]
    parts += [_hook(kernel, spec) for spec in specs(hookspecs)]
    for module in modules("hookspecs"):
        parts.append(f"## Hooks of the plugin {module.__name__.split('.')[1]}")
        parts.append(doc(module))
        parts += [_hook(kernel, spec) for spec in specs(module)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def specs(module: ModuleType) -> list[Any]:
    """The hooks that a module declares, in its order."""
    return [value for value in vars(module).values() if hasattr(value, "caudex_spec")]


def _hook(kernel: Kernel, spec: Any) -> str:
    users = ", ".join(f"`{name}`" for name in _users(kernel, spec.__name__))
    implemented = f"\n\nImplemented by {users}." if users else ""
    code = f"```python\n{signature(spec)}\n```"
    facts = _facts(spec)
    example = _example(spec.__name__)
    return f"### {spec.__name__}\n\n{code}\n\n{doc(spec)}{facts}{implemented}{example}"


def _facts(spec: Any) -> str:
    """What an author has to know of a hook of the kernel, as a table."""
    if (known := FACTS.get(spec.__name__)) is None:
        return ""
    when, process, delivery, worker_sql = known
    limit = "`[server] hook_timeout`" if iscoroutinefunction(spec) else "none: it must not block"
    rows = {"when": when, "where": process, "order": ORDER, "time limit": limit,
            "delivery": delivery}  # fmt: skip
    if worker_sql:
        rows["SQL of workers"] = worker_sql
    lines = [f"| {name} | {said} |" for name, said in rows.items()]
    return "\n\n" + "\n".join(["| | |", "|---|---|", *lines])


def _users(kernel: Kernel, hook: str) -> list[str]:
    """The plugins that implement a hook. A hook of a plugin that is off is not on the bus."""
    try:
        return [i.plugin for i in kernel.bus.implementations(hook)]
    except KeyError:
        return sorted(cls.name for cls in plugin_classes() if hook in vars(cls))


def _example(name: str) -> str:
    """The example of a hook, without the words that its file begins with."""
    file = EXAMPLES / f"{name}.py"
    if not file.is_file():
        return ""
    text = file.read_text("utf-8")
    about, _, code = text.partition("\n\n")
    link = f"([`{file.name}`](../../examples/hooks/{file.name}))"
    words = " ".join(about.strip('"').split())
    return f"\n\n{words} {link}\n\n```python\n{code.strip()}\n```"
