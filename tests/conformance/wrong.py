"""Engines that break promises, each in a way that someone might."""

import hashlib
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import msgspec
from msgspec.structs import replace

import plugins.auth
import plugins.rbac
from kernel.public import (
    ACCESS,
    APPS,
    CHANGES,
    HOOKS,
    IDENTITY,
    JOBS,
    PUBLIC,
    RECORDS,
    STATEMENTS,
    STORAGE,
    VAULT,
    Actor,
    BadRequest,
    Blob,
    ChangesPage,
    CommittedChange,
    Grant,
    NotFound,
    Plugin,
    Route,
    StoredBlob,
    TooLarge,
    Unauthenticated,
    entity,
    hookimpl,
    new_delegation,
    provide,
    reply,
)
from plugins.auth import AuthPlugin
from plugins.auth.models import Registration
from plugins.auth.service import AUTH
from plugins.data.assembly import Dependencies, build_records
from plugins.data.service import RecordsService
from plugins.rbac import RbacPlugin


class WrongVault:
    """One namespace for everyone, kept in memory and in clear, without limits or news."""

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

    async def reveal(self, app_id, *, skip_broken=False):
        return dict(self._kept)


class WrongVaultPlugin(Plugin):
    name = "wrong"
    requires = (STATEMENTS,)

    @hookimpl
    def provide_services(self):
        return [provide(VAULT, lambda services: WrongVault(services.get(STATEMENTS)))]


class WrongStorage:
    """A heap of one process: it keeps what was not finished, and finds by the begin of a hash."""

    location = "memory"

    def __init__(self):
        self._contents = {}

    async def write_blob(self, pieces, limit):
        content = bytearray()
        sha256 = hashlib.sha256()
        try:
            async for piece in pieces:
                content += piece
                sha256.update(piece)
        finally:
            name = sha256.hexdigest()
            self._contents.setdefault(name, (bytes(content), datetime.now(UTC)))
        if len(content) > limit:
            raise TooLarge(limit)
        return Blob(name, len(content))

    def _find(self, sha256):
        return next((name for name in self._contents if name.startswith(sha256[:8])), None)

    async def measure_blob(self, sha256):
        name = self._find(sha256)
        return None if name is None else len(self._contents[name][0])

    async def open_blob(self, sha256, start=0, end=None):
        name = self._find(sha256)
        if name is None:
            raise NotFound("not there")
        return WholeReader(self._contents[name][0], start, end)

    async def delete_blob(self, sha256):
        del self._contents[sha256]

    async def list_blobs(self):
        for name, (content, made_at) in list(self._contents.items()):
            yield StoredBlob(name, len(content), made_at)

    async def check(self):
        pass


class WholeReader:
    """Everything in one piece, with both ends of a range."""

    def __init__(self, content, start, end):
        self.size = len(content)
        self._piece = content[start:] if end is None else content[start : end + 1]

    def __aiter__(self):
        return self

    async def __anext__(self):
        piece, self._piece = self._piece, b""
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self):
        pass


class WrongStoragePlugin(Plugin):
    name = "wrong"

    @hookimpl
    def provide_services(self):
        return [provide(STORAGE, lambda services: WrongStorage())]


class WrongChanges:
    """Reads the trail by its ids: what commits late is missed, and nothing is ever lost."""

    snapshot_expression = "'1'"

    def __init__(self, statements):
        self._statements = statements

    async def now(self):
        found = await self._statements.fetch("select coalesce(max(id), 0) from caudex_audit.log")
        return found.decode()

    async def find(self, time):
        return None

    def check(self, position):
        try:
            int(position)
        except ValueError:
            raise BadRequest("position is no number") from None

    async def position_of(self, snapshot):
        return snapshot.decode()

    async def fill(self, change):
        return change

    async def read(self, position, subjects, limit=1000, *, reshape=False):
        self.check(position)
        rows = await self._statements.fetch_all(
            "select json_build_object('id', id, 'app_id', table_schema, 'entity', table_name,"
            " 'record_id', record_id, 'operation', operation, 'old', old_record::text,"
            " 'new', new_record::text, 'actor', actor_id, 'request', request_id,"
            " 'transaction', xid::text::bigint) from caudex_audit.log where id > $1::bigint"
            " and table_schema || '.' || table_name = any($2::text[]) order by id limit $3::int",
            int(position), sorted(subjects), limit,
        )  # fmt: skip
        changes = []
        for row in rows:
            members = msgspec.json.decode(row)
            for name in ("old", "new"):
                members[name] = members[name] and members[name].encode()
            changes.append(CommittedChange(
                **members, owner_before=None, owner_after=None, at="", position=str(members["id"])
            ))  # fmt: skip
        end = changes[-1].position if changes else position
        return ChangesPage(changes=changes, position=end, complete=len(changes) < limit)

    @asynccontextmanager
    async def follow(self, subjects, position=None, *, reshape=False):
        position = position or await self.now()

        async def pages():
            at = position
            while True:
                page = await self.read(at, subjects)
                at = page.position
                yield page
                await anyio.sleep(0.05)

        yield pages()


class WrongChangesPlugin(Plugin):
    name = "wrong"
    requires = (STATEMENTS,)

    @hookimpl
    def provide_services(self):
        return [provide(CHANGES, lambda services: WrongChanges(services.get(STATEMENTS)))]


class WrongIdentity:
    """The accounts of `auth`, with tokens that outlive them and names distinguished by case."""

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

    async def issue_delegated_token(self, user_id, delegation):
        late = replace(delegation, expires=delegation.expires + 3600)
        try:
            return await self._auth.accounts.issue_delegated_token(user_id, late)
        except NotFound:
            return self._auth.sessions._tokens.delegated(user_id, "someone", late)


class WrongIdentityPlugin(Plugin):
    name = "wrong"
    requires = (AUTH,)

    @hookimpl
    def provide_services(self):
        return [provide(IDENTITY, lambda services: WrongIdentity(services.get(AUTH)))]


class WrongSessions:
    """The sessions of `auth`, with passwords in clear text, and names that every user can take."""

    def __init__(self, auth, statements):
        self._auth = auth
        self._statements = statements
        auth.creation._rules.check = lambda password, *names: None
        self.registrations = self.logins = self.sessions = self

    def __getattr__(self, name):
        parts = (self._auth, self._auth.sessions, self._auth.logins)
        return next(getattr(part, name) for part in parts if hasattr(part, name))

    async def register(self, form, caller, header):
        await self._statements.execute(
            "create table if not exists caudex_kernel.wrong (value text)"
        )
        await self._statements.execute(
            "insert into caudex_kernel.wrong (value) values ($1::text)", form.password
        )
        known = await self.accounts.find(form.username)
        return known or await self._auth.registrations.register(form, caller, header)

    async def login(self, form, caller, client):
        if await self.accounts.find(form.username) is None:
            raise Unauthenticated("no user has this name")
        return await self._auth.logins.login(form, caller, client)

    async def refresh(self, token, caller):
        return replace(await self._auth.sessions.refresh(token, caller), expires_in=0)

    def claims(self, token):
        try:
            return self._tokens.read_access(token)
        except Unauthenticated:
            return self._tokens.read_refresh(token)


class WrongSessionsPlugin(AuthPlugin):
    """Signs in any caller that registers, believes any token to its end, and has no logout."""

    name = "auth"
    migrations = Path(plugins.auth.__file__).parent / "migrations"

    @asynccontextmanager
    async def _open(self, services):
        async with super()._open(services) as auth:
            yield WrongSessions(auth, services.get(STATEMENTS))

    @hookimpl
    def register_routes(self, services):
        self._services = services
        path = "/api/v1/auth"
        wrong = {
            f"{path}/register": Route(
                "POST", f"{path}/register", self._register, PUBLIC, Registration
            ),
            f"{path}/logout": Route("POST", f"{path}/logout", self._logout, PUBLIC),
        }
        return [wrong.get(route.path, route) for route in super().register_routes(services)]

    async def _register(self, request, body):
        auth = self._services.get(AUTH)
        user = await auth.registrations.register(body, request.actor, None)
        token = await auth.accounts.issue_delegated_token(user.id, new_delegation("x", 900))
        return reply({"user": user.view, "accessToken": token}, 201)

    async def _logout(self, request):
        return reply({"message": "logged out"})

    @hookimpl
    async def authenticate(self, request):
        if (header := request.headers.get("authorization")) is None:
            return None
        claims = self._services.get(AUTH).claims(header.removeprefix("Bearer "))
        return Actor(user_id=claims.sub, username="someone", session_id=claims.sid)


class WrongAccessPlugin(RbacPlugin):
    """The built-in roles, but beginnings of names are enough, nothing is ever revoked, and closed
    accounts go on."""

    name = "rbac"
    migrations = Path(plugins.rbac.__file__).parent / "migrations"

    def _build(self, services):
        service = super()._build(services)

        async def generous(user_id, app_id, name, action):
            path = {"app_id": app_id, "entity": name.partition("_")[0]}
            return await service.authorize(Actor(user_id=user_id), entity(action), path)

        async def forgetful(actor, app_id, user_id, role):
            pass

        service.grant, service.revoke = generous, forgetful
        return service


class WrongJobs:
    """One list for everyone, in memory; whatever is asked for is accepted."""

    def __init__(self):
        self._jobs = {}

    async def enqueue(self, actor, app_id, job):
        job_id = str(uuid.uuid4())
        self._jobs[job_id] = {
            "id": job_id, "app_id": app_id, "status": "pending", "result": None, "error": None,
            "attempts": 0, "payload": msgspec.json.decode(job.payload), "progress": None,
        }  # fmt: skip
        return job_id

    async def get(self, app_id, job_id, *, user_id=None):
        if job_id not in self._jobs:
            raise NotFound(f"job '{job_id}' not found")
        return msgspec.json.encode(self._jobs[job_id])

    async def list(self, app_id, *, status, limit, before, user_id=None):
        return msgspec.json.encode(list(self._jobs.values())[:limit])

    async def cancel(self, actor, app_id, job_id, *, user_id=None):
        await self.get(app_id, job_id)
        self._jobs[job_id]["status"] = "cancelled"


class WrongJobsPlugin(Plugin):
    name = "wrong"

    @hookimpl
    def provide_services(self):
        return [provide(JOBS, lambda services: WrongJobs())]


class WrongRecords(RecordsService):
    """The built-in records, but what is someone's own is forgotten, and many are one by one."""

    async def get(self, target, record_id, view=None, *, tx=None):
        target = msgspec.structs.replace(target, grant=Grant())
        return await super().get(target, record_id, view, tx=tx)

    async def create_many(self, target, rows, *, tx=None):
        created = [await self.create(target, row, tx=tx) for row in rows]
        return b"[" + b",".join(record.record for record in created) + b"]"


class WrongRecordsPlugin(Plugin):
    name = "wrong"
    requires = (STATEMENTS, APPS)
    finds = (ACCESS,)

    @hookimpl
    def provide_services(self):
        def build(services):
            needed = map(services.get, (STATEMENTS, APPS, HOOKS))
            records = build_records(Dependencies(*needed, access=lambda: services.get(ACCESS)))
            return WrongRecords(records.parts)

        return [provide(RECORDS, build)]
