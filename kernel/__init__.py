"""The kernel of Caudex."""

VERSION = "0.2.0"
"""Of the distribution caudex-core, which is built with it."""
