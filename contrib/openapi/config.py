"""Settings of the plugin."""

from __future__ import annotations

from kernel.public import Section


class OpenapiConfig(Section, frozen=True, kw_only=True):
    """Access to the document of the server, and whether there is a page."""

    public: bool = False
    page: bool = True
