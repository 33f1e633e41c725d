"""The SQL of the plugin."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Statements, Transaction

from .models import Granted

_LINKED: Final = """
select user_id from caudex_oidc.links where issuer = $1::text and subject = $2::text"""
_LINK: Final = """
insert into caudex_oidc.links as l (issuer, subject, user_id)
values ($1::text, $2::text, $3::uuid)
on conflict (issuer, subject) do update set user_id = l.user_id returning user_id"""
_UNLINK: Final = (
    "delete from caudex_oidc.links where user_id = $1::uuid",
    "delete from caudex_oidc.granted where user_id = $1::uuid",
    "delete from caudex_oidc.handovers where user_id = $1::uuid",
)
_GRANTED: Final = """
select row_to_json(r) from (
    select app_id, role from caudex_oidc.granted where user_id = $1::uuid
) r"""
_REMEMBER: Final = """
insert into caudex_oidc.granted (user_id, app_id, role) values ($1::uuid, $2::text, $3::text)
on conflict do nothing"""
_FORGET: Final = """
delete from caudex_oidc.granted where user_id = $1::uuid and app_id = $2::text and role = $3::text
"""
_HAND_OVER: Final = """
with over as (
    delete from caudex_oidc.handovers where code_hash in (
        select code_hash from caudex_oidc.handovers where expires_at < now()
        limit 1000 for update skip locked
    )
)
insert into caudex_oidc.handovers (code_hash, user_id, challenge, expires_at)
values ($1::text, $2::uuid, $3::text, now() + interval '1 minute')"""
_TAKE_OVER: Final = """
delete from caudex_oidc.handovers
where code_hash = $1::text and challenge = $2::text and expires_at > now() returning user_id"""

_granted = msgspec.json.Decoder(Granted).decode


class OidcStore:
    """Links of accounts, roles that claims granted, codes for an exchange."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def find_linked(self, issuer: str, subject: str) -> str | None:
        """Return the account of a subject."""
        row = await self._statements.fetch(_LINKED, issuer, subject)
        return None if row is None else row.decode()

    async def link(self, issuer: str, subject: str, user_id: str) -> str:
        """Link a subject to an account, unless it is linked; return the id of the linked one."""
        row = await self._statements.execute(_LINK, issuer, subject, user_id)
        return (row or b"").decode()

    async def unlink(self, tx: Transaction, user_id: str) -> None:
        """Delete the rows of an account."""
        for statement in _UNLINK:
            await tx.execute(statement, user_id)

    async def list_granted(self, user_id: str) -> list[Granted]:
        """Return the roles that claims granted."""
        return [_granted(row) for row in await self._statements.fetch_all(_GRANTED, user_id)]

    async def remember(self, user_id: str, role: Granted) -> None:
        """Note that a claim granted a role."""
        await self._statements.execute(_REMEMBER, user_id, role.app_id, role.role)

    async def forget(self, user_id: str, role: Granted) -> None:
        """Note that a claim revoked a role."""
        await self._statements.execute(_FORGET, user_id, role.app_id, role.role)

    async def hand_over(self, code_hash: str, user_id: str, challenge: str) -> None:
        """Add a code that is valid for a minute, and delete up to 1000 expired ones."""
        await self._statements.execute(_HAND_OVER, code_hash, user_id, challenge)

    async def take_over(self, code_hash: str, challenge: str) -> str | None:
        """Delete a code and return the id of its account."""
        row = await self._statements.execute(_TAKE_OVER, code_hash, challenge)
        return None if row is None else row.decode()
