"""The hook of this plugin. An implementation is marked `@hookimpl(optionalhook=True)`, so that this
plugin can be off."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import ConsolePage, Services, hookspec


@hookspec
def register_pages(services: Services) -> Sequence[ConsolePage]:
    """Add pages to the console. Collect, at the start; a wrong route or module stops the start."""
    raise NotImplementedError
