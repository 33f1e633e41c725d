"""Former names: they work for a release, with a warning for the plugin that uses one."""

from __future__ import annotations

import warnings

RENAMED = {
    "NEWS": "NOTIFICATIONS", "News": "Notifications", "Offer": "Provider", "Recipe": "LaunchSpec",
    "Remark": "Finding", "Unsure": "OutcomeUnknown", "offer": "provide", "concerns": "for_subjects",
}  # fmt: skip
"""Names of before 0.2, each with the current one."""


def deprecated(what: str, instead: str, stops_in: str, *, frames: int = 1) -> None:
    """Warn the code that uses a former name: `deprecated("tea.brew", "tea.make", "2.0")`.

    Call it in the old function, property or `__getattr__` of a module. The log names
    plugin, file and line of its caller, what to write, and the release in which it stops; once for
    each place. `frames` is the number of calls between that place and this one.
    """
    said = f"{what} is deprecated and stops working in {stops_in}; write {instead}"
    warnings.warn(said, FutureWarning, stacklevel=frames + 2)


def current_of(name: str) -> str:
    """Return the current name, and warn the module two frames above. Raises AttributeError."""
    if (current := RENAMED.get(name)) is None:
        raise AttributeError(f"module 'caudex' has no attribute {name!r}")
    deprecated(f"caudex.{name}", f"caudex.{current}", "0.3", frames=2)
    return current
