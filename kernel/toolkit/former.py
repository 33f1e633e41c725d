"""Former names: they work for a release, with a warning for the plugin that uses one."""

from __future__ import annotations

import warnings

RENAMED = {
    "NEWS": "NOTIFICATIONS", "News": "Notifications", "Offer": "Provider", "Recipe": "LaunchSpec",
    "Remark": "Finding", "Unsure": "OutcomeUnknown", "offer": "provide", "concerns": "for_subjects",
}  # fmt: skip
"""Names of before 0.2, each with the current one."""


def current_of(name: str) -> str:
    """Return the current name, and warn the module two frames above. Raises AttributeError."""
    if (current := RENAMED.get(name)) is None:
        raise AttributeError(f"module 'caudex' has no attribute {name!r}")
    said = f"caudex.{name} is deprecated and stops working in 0.3; write caudex.{current}"
    warnings.warn(said, FutureWarning, stacklevel=3)
    return current
