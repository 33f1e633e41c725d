"""What plugins were promised stays, or `KERNEL_API` is raised: names, hooks, services, attributes.

`public_api.txt` holds it. `python -m tests.architecture.test_public_api` writes it again: do
so for a release; when something goes, raise `kernel.hooks.plugin.KERNEL_API` first.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from docs.pages.services import service_keys
from kernel import public
from kernel.contracts import hookspecs
from kernel.hooks.plugin import KERNEL_API

FILE = Path(__file__).with_name("public_api.txt")


def promised() -> Iterator[str]:
    """A line for each thing that a plugin can depend on."""
    yield f"version {KERNEL_API}"
    for name in public.__all__:
        yield f"name {name}"
        value: Any = inspect.unwrap(getattr(public, name))  # of one that is cached
        if inspect.isclass(value) and issubclass(value, msgspec.Struct):
            yield from (f"field {name}.{field}" for field in value.__struct_fields__)
        elif inspect.isfunction(value):
            yield from (f"argument {name}({each})" for each in inspect.signature(value).parameters)
        elif inspect.isclass(value):
            yield from (f"member {name}.{each}" for each in sorted(own_members(value)))
    for name, spec in vars(hookspecs).items():
        if hasattr(spec, "caudex_spec"):
            kind = "async" if inspect.iscoroutinefunction(spec) else "plain"
            yield f"hook {name} is {kind}"
            yield from (f"hook {name}({each})" for each in inspect.signature(spec).parameters)
    for key in service_keys():
        if key.module.startswith("kernel."):
            yield f"service {key.name}"


def own_members(cls: type) -> set[str]:
    """Public members that the kernel gave to a class, not those of a library."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("kernel.")]
    return {name for base in ours for name in vars(base) if not name.startswith("_")}


def test_nothing_that_plugins_were_promised_is_gone() -> None:
    kept, found = FILE.read_text("utf-8").split("\n"), set(promised())
    gone = [line for line in kept if line and line not in found]
    assert not gone, "raise KERNEL_API, then: python -m tests.architecture.test_public_api"


if __name__ == "__main__":
    FILE.write_text("\n".join(sorted(set(promised()))) + "\n", "utf-8")
