"""The content security policy of an app's pages, and the manifest section that may change it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from .config import Directive, FrontendsConfig

KEY: Final = "frontend"
BASE: Final[Mapping[str, tuple[str, ...]]] = {
    "default-src": ("'self'",),
    "connect-src": ("'self'",),
    "img-src": ("'self'", "data:", "blob:"),
    "style-src": ("'self'", "'unsafe-inline'"),
    "object-src": ("'none'",),
    "base-uri": ("'self'",),
    "form-action": ("'self'",),
    "frame-ancestors": ("'self'",),
}
WIDENED: Final[tuple[str, ...]] = get_args(Directive)
SOURCE: Final = r"^((https?|wss?)://[A-Za-z0-9*._:-]+(/[^\s;,'\"]*)?|data:|blob:|mediastream:)$"
HOST: Final = re.compile(r"(https?|wss?)://")
UNSAFE: Final = frozenset({"data:", "blob:", "mediastream:"})
"""Sources of scripts that an app could fill itself: never allowed there."""

SCHEMA: Final[dict[str, Any]] = {
    "title": "Frontend",
    "description": "What the pages of the app need.",
    "type": "object",
    "properties": {
        "csp": {
            "title": "Content security policy",
            "description": "Sources to add to the policy, as far as the operator allows them.",
            "type": "object",
            "maxProperties": 30,
            "additionalProperties": {
                "type": "array",
                "items": {"type": "string", "maxLength": 300},
                "maxItems": 50,
                "uniqueItems": True,
            },
            "default": {},
        },
        "public": {
            "title": "Public",
            "description": "Whether files are sent to who has not signed in.",
            "type": "boolean",
            "default": True,
        },
    },
    "additionalProperties": False,
}


class Policy:
    """Makes the policy of an app from its manifest and from what the operator allows."""

    def __init__(self, config: FrontendsConfig) -> None:
        self._allowed: Mapping[str, Sequence[str]] = {**config.csp_allow}

    def make_header(self, section: Mapping[str, Any] | None) -> bytes:
        """Return the value of Content-Security-Policy for an app with this section."""
        directives = {name: list[str](sources) for name, sources in BASE.items()}
        for name, source in _list_wishes(section):
            if not self._is_allowed(name, source):
                continue
            sources = directives.setdefault(name, list[str](BASE["default-src"]))
            if source not in sources:
                sources.append(source)
        parts = [f"{name} {' '.join(sources)}" for name, sources in directives.items()]
        return "; ".join(parts).encode()

    def list_ignored(self, section: Mapping[str, Any] | None) -> list[str]:
        """Say which wishes of a section have no effect."""
        return [
            f"frontend.csp: {name} {source} is not in [plugins.frontends] csp_allow"
            for name, source in _list_wishes(section)
            if not self._is_allowed(name, source) and source not in BASE.get(name, ())
        ]

    def _is_allowed(self, name: str, source: str) -> bool:
        if name not in WIDENED or re.fullmatch(SOURCE, source) is None:
            return False
        if name in ("script-src", "worker-src") and source in UNSAFE:
            return name == "worker-src" and source in self._allowed.get(name, ())
        allowed = self._allowed.get(name, ())
        return source in allowed or ("*" in allowed and HOST.match(source) is not None)


def _list_wishes(section: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    wishes: Mapping[str, Sequence[str]] = (section or {}).get("csp", {})
    for name, sources in wishes.items():
        for source in sources:
            yield name, source
