"""`[plugins.system]`."""

from __future__ import annotations

from kernel.public import Section


class SystemConfig(Section, frozen=True, kw_only=True):
    """One setting, which `caudex serve --safe` makes."""

    safe: bool = False
    """Print at the start which plugins are broken; set by `caudex serve --safe`."""
