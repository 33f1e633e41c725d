"""The hook of this plugin. An implementation is marked `@hookimpl(optionalhook=True)`, so that this
plugin can be off."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import Measure, hookspec


@hookspec
async def measure() -> Sequence[Measure]:
    """Measure a subsystem of this server process. Gather, 2 s at most, every few seconds.

    Names begin with `caudex_<plugin>_`; labels take a handful of values, never ids or paths.
    """
    raise NotImplementedError
