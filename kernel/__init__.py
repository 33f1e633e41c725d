"""The kernel of Caudex."""

VERSION = "0.2.0"
"""Of the distribution caudex-core, which is built with it."""

BUNDLES = ("plugins", "contrib")
"""The packages of plugins that come with Caudex. Each describes itself as `BUNDLE`."""
