"""The page of permissions: what a route can need, and what each one needs."""

from __future__ import annotations

from typing import get_args

from docs.pages.code import table
from kernel.contracts.access import Kind
from kernel.loading.kernel import Kernel

HEAD = """# Permissions

Every route declares the permission that its caller needs. It is checked before the body is read.
The order of refusals: 401 without a valid token, 404 for an app or entity that does not exist (if
the caller may know that), 403, then 400 for the body.

A role of an app holds permission keys: `<entity>.<create|read|update|delete>`, the same with
`.own` at the end for the caller's own records, `<entity>.*`, `*`, and keys that the manifest
declares or plugins register. Admins of `core` are admins of every app.
"""
MEANINGS: dict[Kind, tuple[str, str]] = {
    "public": ("PUBLIC", "nothing, not even a token"),
    "user": ("ANY_USER", "a valid token; the handler checks any further permission"),
    "core_admin": ("CORE_ADMIN", "the role `admin` on `core`"),
    "app_user": ("APP_USER", "any role on the app of the path's `app_id`"),
    "app_admin": ("APP_ADMIN", "the role `admin` on that app, or on `core`"),
    "app_permission": (
        'app_permission("<key>")',
        (
            "through a role on that app `core:jobs.read`, `core:jobs.manage`, `core:logs.read`, "
            'or a key that a plugin registers with `on="app"`'
        ),
    ),
    "entity": ('entity("<action>")', "`<entity>.<action>` on that app, or its `.own` form"),
    "core_permission": (
        'core_permission("<key>")',
        "the key, through a role on `core`; a plugin registers it by `register_permissions`",
    ),
}


def page(kernel: Kernel) -> str:
    """The kinds of need, the keys on `core`, and every route."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    rows = [(f"`{MEANINGS[kind][0]}`", MEANINGS[kind][1]) for kind in kinds]
    keys = [(f"`{permission.key}`", permission.description) for permission in kernel.permissions]
    none = "None of the built-in plugins registers any."
    parts = [
        HEAD,
        "## What a route can need",
        table(("declared as", "the caller holds"), rows),
        "## Permission keys on `core`",
        table(("key", "what for"), keys) if keys else none,
        "## Routes of the built-in plugins",
        _routes(kernel),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _routes(kernel: Kernel) -> str:
    rows = [
        (f"`{route.method} {route.path}`", f"`{route.needs}`", f"`{plugin}`")
        for plugin, route in sorted(kernel.routes, key=lambda pair: (pair[1].path, pair[1].method))
    ]
    return table(("route", "needs", "plugin"), rows)
