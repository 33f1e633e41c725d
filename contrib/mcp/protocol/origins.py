"""Which pages may send requests: those of the server, and those that its operator names."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from kernel.public import BadRequest, Forbidden, HookBus, Request, hookspecs


def check_origin(request: Request, origins: Collection[str], hooks: HookBus) -> None:
    """Refuse a page of another origin, so that no name that is rebound leads here.

    Pages of apps are code of their authors: their origins are refused even if they are listed.
    Raises Forbidden.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return
    host = request.headers.get("host", "")
    is_own = origin in (f"http://{host}", f"https://{host}")
    is_listed = origin != "null" and origin in origins
    if not (is_own or is_listed) or _is_of_app(origin, hooks):
        raise Forbidden("pages of this origin may not use this route")


def _is_of_app(origin: str, hooks: HookBus) -> bool:
    """Whether an origin is the host of an app, or one that the server does not serve."""
    try:
        host = urlsplit(origin).hostname or ""
        return bool(hooks.collect(hookspecs.app_of_host, host=host.removesuffix(".")))
    except (BadRequest, ValueError):
        return False
