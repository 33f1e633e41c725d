"""Checks role names and permission keys.

Segments are compared whole: `notes.read` says nothing about `notes_private.read`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from kernel.public import (
    JOBS_MANAGE,
    JOBS_READ,
    LOGS_READ,
    PERMISSION_KEY,
    BadRequest,
    Permission,
    is_uuid,
)

from .models import ADMIN

ACTIONS: Final = ("create", "read", "update", "delete")
OWN: Final = ".own"
ROLE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _.-]{0,63}")
RESERVED: Final = ("assign", "revoke", "assignments")
EVERY_APP: Final = (JOBS_READ.key, JOBS_MANAGE.key, LOGS_READ.key)
"""Keys that a role of any app may hold; no wildcard of an entity covers them."""
APP_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_role_name(name: str) -> None:
    """Refuse a name that is not valid or looks like the built-in one. Raises BadRequest."""
    if not ROLE_NAME.fullmatch(name):
        raise BadRequest(
            "name: a role's name is 1 to 64 letters, digits, spaces, '_', '.' or '-',"
            " beginning with a letter"
        )
    if name in RESERVED or name.strip().lower() == ADMIN:
        raise BadRequest(f"name: '{name}' is reserved")


def canonical_user_id(text: str) -> str:
    """Return a user's id in lower case. Raises BadRequest where it is not a UUID."""
    if not is_uuid(text):
        raise BadRequest("userId: must be a UUID")
    return str(UUID(text))


def permissions_of(
    entities: Sequence[str], declared: Iterable[Permission], of_fields: Iterable[Permission] = ()
) -> list[Permission]:
    """List every key of an app: the generated ones by entity, of fields, then other declared ones.

    A key that is both is one entry, with the declared description. Raises BadRequest.
    """
    declared_keys: dict[str, str] = {}
    for permission in declared:
        if not PERMISSION_KEY.fullmatch(permission.key):
            raise BadRequest(f"permissions: {permission.key[:128]!r} is no permission key")
        declared_keys.setdefault(permission.key, permission.description)
    keys = {
        f"{entity}.{action}": f"{action.capitalize()} {entity}"
        for entity in entities
        for action in ACTIONS
    }
    keys |= {permission.key: permission.description for permission in of_fields}
    return [Permission(key, text) for key, text in (keys | declared_keys).items()]


def check_keys(
    keys: Sequence[str],
    entities: Iterable[str],
    available: Iterable[Permission],
    present_keys: Iterable[str] = (),
) -> list[str]:
    """Return a role's permissions, each once. Raises BadRequest that names the first bad one.

    The role's `present_keys` stay valid when their entity is retired.
    """
    concrete = {permission.key for permission in available}
    allowed = concrete | set(present_keys) | {"*", *EVERY_APP}
    allowed |= {f"{entity}.{action}{OWN}" for entity in entities for action in ACTIONS}
    allowed |= {f"{prefix(key)}.*" for key in concrete if "." in key}
    for key in keys:
        if key not in allowed:
            raise BadRequest(f"permissions: {key[:128]!r} is no permission key of this app")
    return list(dict.fromkeys(keys))


def prefix(key: str) -> str:
    """Return the first segment of a key, which `<entity>.*` is compared with."""
    return key.partition(".")[0]
