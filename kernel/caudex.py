"""What authors of plugins import, `from caudex import Plugin`; the wheel holds it as `caudex`."""

from kernel.public import *  # noqa: F403  # the names are listed there, and only there
from kernel.public import __getattr__  # noqa: F401
