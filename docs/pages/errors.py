"""The page of the errors."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import ModuleType

from docs.pages.code import first_line, modules, table
from kernel import errors, public
from kernel.errors import EX_CONFIG, BootError, KernelError, PluginFailed
from kernel.loading.kernel import Kernel

HEAD = """# Errors

Every error of a request is `{"error": "<one human sentence>"}` with its status. A plugin raises
one of the classes below, and the kernel writes the reply. Any other exception becomes a 500 without
its cause. The log has the cause, under the request id of the header `X-Request-Id`.
"""
PLUGIN = """## Of a plugin that is wrong

The caller gets a 500. The log names the plugin, the place and the remedy.
"""
BOOT = f"""## At the start

Errors of a start are reported together, one line each, as `place: problem; remedy`. The command
ends with status {EX_CONFIG}.
"""


def page(_: Kernel) -> str:
    """The classes of the kernel, then those of plugins."""
    raised = [*classes(errors, KernelError), *_contracted()]
    parts = [
        HEAD,
        _table(raised),
        PLUGIN,
        _table(classes(errors, PluginFailed)),
        BOOT,
        _table(classes(errors, BootError)),
    ]
    for module in modules("errors"):
        if own := classes(module, Exception):
            parts.append(f"## Of the plugin {module.__name__.split('.')[1]}")
            parts.append(_table(own))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def classes(module: ModuleType, base: type[BaseException]) -> list[type[BaseException]]:
    """The error classes that a module declares, in its order."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
    ]


def _contracted() -> list[type[BaseException]]:
    """Those that belong to a service, beside its Protocol."""
    return [
        value
        for value in (getattr(public, name) for name in public.__all__)
        if inspect.isclass(value)
        and issubclass(value, KernelError)
        and value.__module__ != errors.__name__
    ]


def _table(found: Sequence[type[BaseException]]) -> str:
    rows = [
        (f"`{cls.__name__}`", _status(cls), f"`{cls.__bases__[0].__name__}`", first_line(cls))
        for cls in found
    ]
    return table(("class", "status", "is a", "when"), rows)


def _status(cls: type[BaseException]) -> str:
    return str(getattr(cls, "status", ""))
