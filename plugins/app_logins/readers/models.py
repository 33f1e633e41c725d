"""What a reader is, and how it is shown."""

from __future__ import annotations

import msgspec


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader may use: connections, and seconds for each statement."""

    connections: int
    timeout: int


class ReaderRole(msgspec.Struct, frozen=True, kw_only=True):
    """A reader as PostgreSQL has it: its role, and the schema of its views, None without them."""

    role: str
    schema: str | None


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reader connects to, for the forms of BI tools and as a connection string."""

    host: str
    port: str
    database: str
    user: str
    password: str
    url: str


class NewReader(msgspec.Struct, frozen=True, kw_only=True):
    """A reader with its password, which is shown once; `remarks` say what is not refused to it."""

    name: str
    app_id: str
    schema: str
    address: Address
    remarks: tuple[str, ...] = ()


class ReaderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One reader of a list; `note` is the comment of its role, None where there is no role."""

    name: str
    app_id: str
    role: str
    views: bool
    created_at: str
    can_login: bool | None
    connections: int | None
    note: str | None

    @property
    def state(self) -> str:
        """What it can do now: `ready`, or why it cannot connect."""
        if self.can_login is None:
            return "no login, renew it"
        if self.can_login:
            return "ready"
        return self.note or "shut"
