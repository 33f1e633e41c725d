"""The libraries in `web/vendor`, as the npm registry has them.

Two changes were made to each: the imports are relative, as an import map would have to be inline,
and the comment that names a source map is gone.
"""

from __future__ import annotations

from typing import NamedTuple


class Vendored(NamedTuple):
    """A file: package, version, its path in the package, licence, and the SHA-256 of our copy.

    The text of the licence is in `licences/`, under the name of the package.
    """

    file: str
    package: str
    version: str
    path: str
    licence: str
    sha256: str

    @property
    def licence_file(self) -> str:
        """The name of the file with the text of the licence."""
        return f"{self.package.removeprefix('@').replace('/', '-')}.txt"


VENDORED = (
    Vendored(
        "but-unzip.js",
        "but-unzip",
        "0.1.10",
        "index.browser.min.mjs",
        "Apache-2.0",
        "bd2d8bb8070b74ee922895d96e9b1f185432b3db0ea5050ebe1d6fccde6d9792",
    ),
    Vendored(
        "preact.js",
        "preact",
        "11.2.0",
        "dist/preact.mjs",
        "MIT",
        "225d7a773766e6fb2cfcc45274fe41d2059f5782f3f2c4569aa5132a2d3a2902",
    ),
    Vendored(
        "hooks.js",
        "preact",
        "11.2.0",
        "hooks/dist/hooks.mjs",
        "MIT",
        "5c65ab263688d0805862fd0807c779af02c2799c44fda0873dfcb870d0da70a0",
    ),
    Vendored(
        "htm.js",
        "htm",
        "3.1.1",
        "dist/htm.mjs",
        "Apache-2.0",
        "ab33dd3f38059b9be4d5f5350128eefb2356639c4e0bbe9d9e8b3ba75847e9e4",
    ),
    Vendored(
        "signals-core.js",
        "@preact/signals-core",
        "1.14.5",
        "dist/signals-core.mjs",
        "MIT",
        "147cdbe5e0e6e9cb35a27f2d4f496f8ba0fbd6beedf9e683e0297a976773b724",
    ),
    Vendored(
        "signals.js",
        "@preact/signals",
        "2.11.4",
        "dist/signals.mjs",
        "MIT",
        "822c3a0f6516b2221beae1f8fea0ca2d0c886eb16ce98949530aa1d2b8ac64d6",
    ),
)
