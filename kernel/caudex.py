"""The names for authors of plugins: `from caudex import Plugin`. The wheel has it as `caudex`."""

from kernel.public import *  # noqa: F403  # the names are listed there, and only there
