"""Fakes of accounts, sessions and permissions."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from kernel.contracts.access import Assignment, Effective, Grant, Needs, Permission, Role
from kernel.contracts.base import Actor, Delegation, Limits
from kernel.contracts.identity import Person, User
from kernel.contracts.statements import Reader
from kernel.errors import BadRequest, Forbidden, NotFound, Unauthenticated

CREATED_AT = "2030-01-01T00:00:00+00:00"
CORE = "core"
ADMIN = "admin"


class FakeIdentity:
    """IDENTITY in memory: `put("ada")` creates an account and returns it."""

    def __init__(self) -> None:
        self.accounts: dict[str, User] = {}

    def put(self, username: str, *, email: str | None = None, disabled: bool = False) -> User:
        """Create an account."""
        user = User(
            id=str(uuid.uuid4()), username=username, email=email, display_name=None,
            created_at=CREATED_AT, disabled=disabled,
        )  # fmt: skip
        self.accounts[user.id] = user
        return user

    async def user(self, user_id: str, reader: Reader | None = None) -> User | None:
        return self.accounts.get(user_id.lower())

    async def find(self, username: str) -> User | None:
        for user in self.accounts.values():
            if user.username.lower() == username.lower():
                return user
        return None

    async def find_email(self, email: str) -> User | None:
        for user in self.accounts.values():
            if (user.email or "").lower() == email.lower():
                return user
        return None

    async def add(self, actor: Actor, person: Person) -> User:
        """See `Identity.add`; names are not validated."""
        if not self.accounts:
            raise Forbidden("the first account is made here: caudex users create")
        if await self.find(person.username):
            raise BadRequest("this username is already taken")
        user = self.put(person.username, email=person.email)
        self.accounts[user.id] = replace(user, display_name=person.display_name)
        return self.accounts[user.id]

    async def users(self) -> list[User]:
        return sorted(self.accounts.values(), key=lambda user: user.username.lower())

    async def issue_delegated_token(
        self, user_id: str, delegation: Delegation, limits: Limits | None = None
    ) -> str:
        """See `Identity.issue_delegated_token`; the token contains the user id and is not valid."""
        if user_id not in self.accounts:
            raise NotFound(f"user '{user_id}' not found")
        return f"token-of-{user_id}"

    def relation(self) -> tuple[str, str]:
        """See `Identity.relation`; there is no such table."""
        return "fake", "users"


class FakeSessions:
    """SESSIONS in memory for the accounts of a `FakeIdentity`; `begun` holds the user ids."""

    def __init__(self, identity: FakeIdentity) -> None:
        self.begun: list[str] = []
        self._identity = identity

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """See `Sessions.begin`; the tokens are not valid anywhere."""
        user = await self._identity.user(user_id)
        if user is None or user.disabled:
            raise Unauthenticated("this account is closed")
        self.begun.append(user.id)
        tokens = {"accessToken": f"token-of-{user.id}", "refreshToken": "", "expiresIn": 900}
        return msgspec.json.encode({**tokens, "user": user})

    async def refresh(self, token: str, caller: Actor) -> bytes:
        """See `Sessions.refresh`; no token is valid."""
        raise Unauthenticated("session revoked: log in again")

    async def logout(self, token: str, caller: Actor) -> None:
        """See `Sessions.logout`; no token is valid."""
        raise Unauthenticated("session revoked: log in again")


class FakeAccess:
    """ACCESS in memory. `allow("u1", "crm", "contacts.read")` grants permissions, `allow("u1",
    "core", "*")` makes a core admin; `declare` adds an app with its permission keys; `closed` holds
    the ids of disabled accounts."""

    def __init__(self) -> None:
        self.keys: dict[str, list[Permission]] = {CORE: []}
        self.closed: set[str] = set()
        self._roles = defaultdict[str, dict[str, Role]](dict)
        self._held = defaultdict[tuple[str, str], list[str]](list)

    def declare(self, app_id: str, *permissions: str) -> None:
        """Add an app with the permission keys of its roles."""
        self.keys.setdefault(app_id, []).extend(Permission(key) for key in permissions)

    def allow(self, user_id: str, app_id: str, *permissions: str) -> None:
        """Grant a user permissions with a new role."""
        self.keys.setdefault(app_id, [])
        name = f"of {user_id}: {', '.join(permissions)}"
        if permissions == ("*",):
            name = ADMIN
        self._roles[app_id][name] = Role(name=name, permissions=list(permissions))
        self._held[app_id, user_id].append(name)

    async def authorize(self, actor: Actor, needs: Needs, path: Mapping[str, str]) -> Grant:
        app_id = path.get("app_id", CORE)
        if needs.kind.startswith(CORE):
            app_id = CORE
        self._require_app(app_id)
        match needs.kind:
            case "public" | "user":
                return Grant()
            case "core_admin" | "app_admin":
                return _granted(await self.is_app_admin(actor.user_id, app_id), ADMIN)
            case "app_user":
                admin = await self.is_core_admin(actor.user_id)
                return _granted(admin or bool(self._names(actor.user_id, app_id)), "a role")
            case "app_permission":
                admin = await self.is_app_admin(actor.user_id, app_id)
                held = self._holds(actor.user_id, app_id, needs.key)
                return _granted(admin or held, needs.key)
            case "core_permission":
                return _granted(self._holds(actor.user_id, app_id, needs.key), needs.key)
            case "entity":
                return await self.grant(actor.user_id, app_id, path["entity"], needs.key)

    async def grant(
        self,
        user_id: str | None,
        app_id: str,
        entity: str,
        action: str,
        limits: Limits | None = None,
    ) -> Grant:
        self._require_app(app_id)
        if user_id in self.closed:
            raise Forbidden("this account is closed")
        key = f"{entity}.{action}"
        if await self.is_app_admin(user_id, app_id) or self._holds(user_id, app_id, key):
            return Grant()
        _granted(self._holds(user_id, app_id, f"{key}.own"), key)
        return Grant(own_only=True)

    async def is_core_admin(self, user_id: str | None, limits: Limits | None = None) -> bool:
        if limits is not None and limits.narrow:
            return False
        return ADMIN in self._names(user_id, CORE)

    async def is_app_admin(
        self, user_id: str | None, app_id: str, limits: Limits | None = None
    ) -> bool:
        if limits is not None and limits.narrow:
            return False
        return app_id in self.keys and (
            ADMIN in self._names(user_id, app_id) or await self.is_core_admin(user_id)
        )

    async def effective(self, user_id: str, app_id: str, limits: Limits | None = None) -> Effective:
        """See `Access.effective`; patterns are not expanded."""
        self._require_app(app_id)
        return Effective(self._names(user_id, app_id), sorted(self._permissions(user_id, app_id)))

    async def available(self, app_id: str) -> Sequence[Permission]:
        """See `Access.available`: the declared keys."""
        self._require_app(app_id)
        return tuple(self.keys[app_id])

    async def roles(self, app_id: str) -> Sequence[Role]:
        self._require_app(app_id)
        return sorted(self._roles[app_id].values(), key=lambda role: role.name)

    async def create_role(self, actor: Actor, app_id: str, role: Role) -> None:
        self._require_app(app_id)
        if role.name in self._roles[app_id]:
            raise BadRequest(f"role '{role.name}' exists")
        self._roles[app_id][role.name] = role

    async def update_role(
        self, actor: Actor, app_id: str, name: str, changes: Mapping[str, object]
    ) -> None:
        values: Any = dict(changes)
        self._roles[app_id][name] = msgspec.structs.replace(self._role(app_id, name), **values)

    async def delete_role(self, actor: Actor, app_id: str, name: str) -> None:
        self._role(app_id, name)
        del self._roles[app_id][name]
        for (app, _), names in self._held.items():
            if app == app_id and name in names:
                names.remove(name)

    async def assignments(self, app_id: str) -> Sequence[Assignment]:
        self._require_app(app_id)
        return [
            Assignment(user_id=user_id, role=name, assigned_at=CREATED_AT)
            for (app, user_id), names in self._held.items()
            if app == app_id
            for name in names
        ]

    async def assign(self, actor: Actor, app_id: str, user_id: str, role: str) -> None:
        self._role(app_id, role)
        names = self._held[app_id, user_id]
        if role not in names:
            names.append(role)

    async def revoke(self, actor: Actor, app_id: str, user_id: str, role: str) -> None:
        self._role(app_id, role)
        names = self._held[app_id, user_id]
        held = [user for (app, user), of in self._held.items() if app == app_id and role in of]
        if role == ADMIN and held == [user_id]:
            raise BadRequest("the last admin stays")
        if role in names:
            names.remove(role)

    def _require_app(self, app_id: str) -> None:
        if app_id not in self.keys:
            raise NotFound(f"app '{app_id}' not found")

    def _role(self, app_id: str, name: str) -> Role:
        self._require_app(app_id)
        if name not in self._roles[app_id]:
            raise NotFound(f"role '{name}' not found")
        return self._roles[app_id][name]

    def _names(self, user_id: str | None, app_id: str) -> list[str]:
        """Return the roles of a user, inherited ones included."""
        names: list[str] = []
        waiting = list(self._held.get((app_id, user_id or ""), ()))
        while waiting:
            name = waiting.pop(0)
            role = self._roles[app_id].get(name)
            if role is not None and name not in names:
                names.append(name)
                waiting += role.inherits
        return names

    def _permissions(self, user_id: str | None, app_id: str) -> set[str]:
        roles = [self._roles[app_id][name] for name in self._names(user_id, app_id)]
        return {key for role in roles for key in role.permissions}

    def _holds(self, user_id: str | None, app_id: str, key: str) -> bool:
        held = self._permissions(user_id, app_id)
        return ADMIN in self._names(user_id, CORE) or _covers(held, key)


def _covers(patterns: Iterable[str], key: str) -> bool:
    for pattern in patterns:
        if pattern in ("*", key):
            return True
        if pattern.endswith(".*") and key.startswith(pattern[:-1]):
            return True
    return False


def _granted(may: bool, what: str) -> Grant:
    if not may:
        raise Forbidden(f"{what} is needed")
    return Grant()
