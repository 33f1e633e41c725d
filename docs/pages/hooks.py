"""The page of the hooks."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from docs.pages.code import ROOT, doc, modules, plugin_classes, signature
from kernel.contracts import hookspecs
from kernel.loading.kernel import Kernel

HEAD = """# Hooks

A plugin takes part in what others do by implementing hooks: a method with the hook's name,
marked with `@hookimpl`, that names the arguments it wants. Sync or async is as the hook is
declared. A misspelt or unmarked hook, a wrong argument, or `def` where `async def` is declared (or
the reverse) stops the start, with file and line.

Each hook of the kernel has a complete plugin as an example; the tests run all of them.
"""
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
    return f"### {spec.__name__}\n\n{code}\n\n{doc(spec)}{implemented}{_example(spec.__name__)}"


def _users(kernel: Kernel, hook: str) -> list[str]:
    """Who implements a hook; one whose owner is off by default is not on the bus."""
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
