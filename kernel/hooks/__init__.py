"""The hook bus, its specs, the plugin base class and the services."""

from typing import Final

NAMESPACE: Final = "caudex"
"""The project name of pluggy's markers."""
