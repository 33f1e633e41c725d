"""Engines that break promises, each in a way that somebody might."""

import uuid
from pathlib import Path

import msgspec

import plugins.rbac
from kernel.public import (
    APPS,
    HOOKS,
    IDENTITY,
    JOBS,
    RECORDS,
    STATEMENTS,
    VAULT,
    BadRequest,
    Grant,
    NotFound,
    Plugin,
    hookimpl,
    offer,
)
from plugins.auth.service import AUTH
from plugins.data.service import RecordsService
from plugins.rbac import RbacPlugin


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


class WrongAccessPlugin(RbacPlugin):
    """The built-in roles, but beginnings of names are enough, and nothing is ever revoked."""

    name = "rbac"
    migrations = Path(plugins.rbac.__file__).parent / "migrations"

    def _build(self, services):
        service = super()._build(services)
        grant = service.grant

        async def generous(user_id, app_id, entity, action):
            return await grant(user_id, app_id, entity.partition("_")[0], action)

        async def forgetful(actor, app_id, user_id, role):
            pass

        service.grant, service.revoke = generous, forgetful
        return service


class WrongJobs:
    """One list for everybody, in memory; whatever is asked for is accepted."""

    def __init__(self):
        self._jobs = {}

    async def enqueue(self, actor, app_id, job):
        job_id = str(uuid.uuid4())
        self._jobs[job_id] = {
            "id": job_id, "app_id": app_id, "status": "pending", "result": None, "error": None,
            "attempts": 0, "payload": msgspec.json.decode(job.payload), "progress": None,
        }  # fmt: skip
        return job_id

    async def get(self, app_id, job_id):
        if job_id not in self._jobs:
            raise NotFound(f"job '{job_id}' not found")
        return msgspec.json.encode(self._jobs[job_id])

    async def list(self, app_id, *, status, limit, before):
        return msgspec.json.encode(list(self._jobs.values())[:limit])

    async def cancel(self, actor, app_id, job_id):
        await self.get(app_id, job_id)
        self._jobs[job_id]["status"] = "cancelled"


class WrongJobsPlugin(Plugin):
    name = "wrong"
    provides = (JOBS,)

    @hookimpl
    def provide_services(self):
        return [offer(JOBS, lambda services: WrongJobs())]


class WrongRecords(RecordsService):
    """The built-in records, but what is somebody's own is forgotten, and many are one by one."""

    async def get(self, actor, grant, app_id, entity, record_id):
        return await super().get(actor, Grant(), app_id, entity, record_id)

    async def create_many(self, actor, grant, app_id, entity, rows):
        made = [await self.create(actor, grant, app_id, entity, row) for row in rows]
        return b"[" + b",".join(made) + b"]"


class WrongRecordsPlugin(Plugin):
    name = "wrong"
    provides = (RECORDS,)
    requires = (STATEMENTS, APPS)

    @hookimpl
    def provide_services(self):
        needed = (STATEMENTS, APPS, HOOKS)
        return [offer(RECORDS, lambda services: WrongRecords(*map(services.get, needed)))]
