"""Engines that break promises, each in a way that somebody might."""

from kernel.public import (
    IDENTITY,
    STATEMENTS,
    VAULT,
    BadRequest,
    NotFound,
    Plugin,
    hookimpl,
    offer,
)
from plugins.auth.service import AUTH


class WrongVault:
    """One namespace for everybody, kept in memory and in clear, without limits or news."""

    def __init__(self, statements):
        self._statements = statements
        self._kept = {}

    async def set(self, actor, app_id, key, value):
        if not key.replace("_", "").isalnum():
            raise BadRequest("key is no name")
        self._kept[key] = value
        await self._statements.execute(
            "create table if not exists caudex_kernel.wrong (value text)"
        )
        await self._statements.execute(
            "insert into caudex_kernel.wrong (value) values ($1::text)", value
        )

    async def names(self, app_id):
        return list(self._kept)

    async def delete(self, actor, app_id, key):
        if self._kept.pop(key, None) is None:
            raise NotFound(f"secret '{key}' not found")

    async def reveal(self, app_id):
        return dict(self._kept)


class WrongVaultPlugin(Plugin):
    name = "wrong"
    provides = (VAULT,)
    requires = (STATEMENTS,)

    @hookimpl
    def provide_services(self):
        return [offer(VAULT, lambda services: WrongVault(services.get(STATEMENTS)))]


class WrongIdentity:
    """The accounts of `auth`, with tokens that outlive them and names told apart by case."""

    def __init__(self, auth):
        self._auth = auth

    def __getattr__(self, name):
        return getattr(self._auth.accounts, name)

    async def find(self, username):
        found = [user for user in await self.users() if user.username == username]
        return found[0] if found else None

    async def users(self):
        return (await self._auth.accounts.users())[::-1]

    async def add(self, actor, person):
        return await self._auth.accounts.add(actor, person)

    async def token(self, user_id, seconds):
        return self._auth._tokens.access(user_id, "somebody", "", 3600)


class WrongIdentityPlugin(Plugin):
    name = "wrong"
    provides = (IDENTITY,)
    requires = (AUTH,)

    @hookimpl
    def provide_services(self):
        return [offer(IDENTITY, lambda services: WrongIdentity(services.get(AUTH)))]
