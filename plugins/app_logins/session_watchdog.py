"""Ends sessions of apps that hold too many locks or too much memory, or a transaction for too long.

PostgreSQL has one lock table for all its databases, and each session sets its own timeouts. A full
lock table stops every write, and every new connection. So one connection is always open, in a
transaction that already has the locks which a look takes: it finds and ends sessions when there is
no room left.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection, sql

from kernel.public import LOGS, POOL, WORKERS, Services, Unavailable, server_actor

from . import store
from .config import AppLoginsConfig
from .memory import SessionMemory
from .roles import join
from .service import AppLoginsService

RENEW_SECONDS: Final = 60.0
"""Age at which the transaction is renewed: a session that needs these catalogs gets a turn then."""

REST_SECONDS: Final = 2.0
"""Pause between two looks at the locks."""

MEMORY_SECONDS: Final = 0.25
"""Pause between two looks at the memory, which costs no statement."""

REPEAT_SECONDS: Final = 600.0
"""A second flood within this time shuts a login."""

# Settings that this PostgreSQL does not have are left out.
_ENDLESS: Final = """
select set_config(name, '0', false) from pg_settings
where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')"""

_SERVER: Final = "select concat_ws(':', host(inet_server_addr()), current_setting('port'))"

SESSION: Final = """
select concat_ws(' ', pg_backend_pid(), oid) from pg_database where datname = current_database()"""

_FRESH: Final = "select pg_stat_clear_snapshot()"

# The statement names each catalog that it reads indirectly, so that the first run takes all locks,
# also those of indexes. pg_auth_members shows whether this login may end a session.
_LOOK: Final = """
with held as materialized (
    select pid, count(*) as locks from pg_locks where not fastpath group by pid
),
logins as (
    select r.rolname as role, substring(r.rolname from '[0-9]+$')::bigint as number,
        pg_has_role(r.oid, 'usage') as reached,
        substring(c.description from '^shut by the server: (.*)') as shut,
        coalesce(sum(h.locks), 0)::bigint as locks,
        coalesce(max(extract(epoch from clock_timestamp() - s.xact_start)), 0) as age,
        count(s.pid) as sessions
    from pg_database as d
    join pg_roles as r on r.rolname ~ format('^caudex_%s_[qrw][0-9]+$', d.oid)
    left join pg_shdescription as c on c.objoid = r.oid and c.classoid = 'pg_authid'::regclass
    left join pg_stat_activity as s on s.usesysid = r.oid
    left join held as h on h.pid = s.pid
    where d.datname = current_database()
    group by r.rolname, r.oid, c.description
)
select json_build_object(
    'room', current_setting('max_locks_per_transaction')::bigint
        * current_setting('max_connections')::bigint,
    'queue', pg_notification_queue_usage(),
    'memberships', (select count(*) from pg_auth_members where false),
    'logins', (
        select coalesce(json_agg(row_to_json(l)), '[]') from logins as l
        where l.sessions > 0 or not l.reached or l.shut is not null)
)::text"""

_END: Final = """
select count(pg_terminate_backend(pid{})) from pg_stat_activity
where usename = {} and clock_timestamp() - coalesce(xact_start, clock_timestamp())
    >= make_interval(secs => {})"""


class HeldLogin(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of an app's login hold, and the age of their oldest transaction in seconds.

    `reached` says whether the server may end them, `shut` why it is shut, if it is.
    """

    role: str
    number: int
    reached: bool
    shut: str | None
    locks: int
    age: float


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What logins of apps hold of shared resources.

    `room` is how many locks fit into the lock table, `queue` the share of the notification queue
    that is in use, whichever sessions fill it.
    """

    room: int
    queue: float
    logins: list[HeldLogin]


_holdings = msgspec.json.Decoder(Holdings).decode

log = structlog.get_logger("caudex.app_logins")


class SessionWatchdog:
    """Watches the sessions of all apps; one for each server process."""

    def __init__(
        self, services: Services, logins: AppLoginsService, config: AppLoginsConfig
    ) -> None:
        self._services = services
        self._logins = logins
        self._statements = logins.statements
        self._timeout = config.transaction_timeout
        self._memory_bound = config.memory_mb << 20
        self._memory = SessionMemory()
        self._floods: dict[str, float] = {}
        self._unreachable = set[str]()
        """Logins whose sessions the server may not end."""
        self._away = False
        self._exhausted = False
        self.looked = anyio.Event()
        """Set after the first look, even a failed one."""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                if not await self._logins.may():
                    break
                async with self._services.get(POOL).connect() as connection:
                    await self._watch(connection)
            except Exception as error:  # the watch must go on after any error
                await self._report_loss(error)
            self.looked.set()
            await anyio.sleep(0.3)
        self.looked.set()

    async def _report_loss(self, error: Exception) -> None:
        """Report a lost connection.

        Where a full lock table causes it, every worker of this process has to end. A worker needs
        the database to start, so it comes back after the watchdog.
        """
        if not self._away:
            cause = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.warning("the database logins of apps are not watched", error=cause)
        self._away = True
        if not _is_full(error):
            return
        if not self._exhausted:
            log.error("the database has no room for locks: all workers here are restarted")
        self._exhausted = True
        for callback in self._logins.listeners:
            await callback()

    async def _watch(self, connection: AsyncConnection[Any]) -> None:
        """Look again and again. Raises psycopg.Error or OSError when the connection is lost."""
        await self._follow(await _ask(connection, _SERVER))
        backend, database = (await _ask(connection, SESSION)).split()
        self._memory.attach(int(backend), int(database))
        await _ask(connection, _ENDLESS)
        await _begin(connection)
        renew = anyio.current_time() + RENEW_SECONDS
        while True:
            holdings = await _look(connection)
            self._away = False
            self._exhausted = False
            self._logins.shut = {
                login.number: login.shut for login in holdings.logins if login.shut
            }
            has_acted = await self._act(connection, holdings)
            self.looked.set()
            if has_acted:
                await anyio.sleep(0.1)
            elif anyio.current_time() >= renew:
                # Only while no login holds much, and the next look follows at once.
                await _ask(connection, "commit")
                await _begin(connection)
                renew = anyio.current_time() + RENEW_SECONDS
            else:
                await self._rest(connection)

    async def _rest(self, connection: AsyncConnection[Any]) -> None:
        """Wait until the next look, and end sessions that take too much memory meanwhile."""
        deadline = anyio.current_time() + REST_SECONDS
        while anyio.current_time() < deadline:
            for role, size in self._memory.by_login().items():
                if size > self._memory_bound:
                    reason = f"its sessions took {size >> 20} MB of memory in the database"
                    await self._end_excess(connection, role, reason)
            await anyio.sleep(MEMORY_SECONDS)

    async def _follow(self, server: str) -> None:
        """Restart the workers here after a failover: their `database_url` names the former server.

        Raises KernelError.
        """
        workers = self._services.find(WORKERS)
        if self._logins.is_elsewhere(server) and workers is not None and workers.running():
            log.warning("the database is another server: workers here are restarted", now=server)
            for app_id in workers.running():
                await workers.restart(app_id)
        self._logins.server = server

    async def _act(self, connection: AsyncConnection[Any], holdings: Holdings) -> bool:
        """End sessions that hold too much, and return whether there were any."""
        has_acted = False
        for login in _find_flooding(holdings):
            reason = f"it held {login.locks} locks in the database"
            await self._end_excess(connection, login.role, reason)
            has_acted = True

        # A long transaction keeps the queue of notifications from being emptied.
        max_age = self._timeout
        if holdings.queue > 0.25:
            max_age = 5.0
        for login in holdings.logins:
            if not login.reached:
                if login.role not in self._unreachable:
                    await self._join(login)
            elif login.age > max_age:
                has_ended = await self._end_old(connection, login, max_age)
                has_acted = has_acted or has_ended
        return has_acted

    async def _end_excess(self, connection: AsyncConnection[Any], role: str, reason: str) -> None:
        """End the sessions of a login; the second time within a while, shut it."""
        now = anyio.current_time()
        recent_floods = {
            name: time for name, time in self._floods.items() if now < time + REPEAT_SECONDS
        }
        is_repeated = role in recent_floods
        self._floods = {**recent_floods, role: now}

        is_shut = False
        if not is_repeated:
            await _end(connection, role, 0)
        else:
            is_shut = await self._end_and_shut(connection, role, reason)
        await self._report(role, reason, is_shut)

    async def _end_and_shut(self, connection: AsyncConnection[Any], role: str, reason: str) -> bool:
        """End the sessions of a login until it is shut, then those that came in meanwhile.

        Returns False where it stays open: there is no room even for that.
        """
        is_shut = False
        for _ in range(20):
            await _end(connection, role, 0)
            if is_shut:
                break
            is_shut = await self._shut(role, reason)
        return is_shut

    async def _end_old(
        self, connection: AsyncConnection[Any], login: HeldLogin, max_age: float
    ) -> bool:
        if not await _end(connection, login.role, max_age):
            return False  # it has come to its end by itself
        reason = f"a transaction took more than {max_age:g} seconds"
        await self._report(login.role, reason, False)
        return True

    async def _shut(self, role: str, reason: str) -> bool:
        try:
            await self._statements.run(
                server_actor(), lambda tx: store.shut(tx, role, _number_of(role), reason)
            )
            return True
        except Unavailable:
            pass  # the table is full again
        except Exception as error:
            log.error("the database login of an app stays open", role=role, exc_info=error)
        return False

    async def _join(self, login: HeldLogin) -> None:
        """Become a member of a login that was made by an older version."""
        try:
            is_member = await self._statements.run(server_actor(), lambda tx: join(tx, login.role))
        except Unavailable:
            return
        if not is_member:
            self._unreachable.add(login.role)
            log.warning("sessions of an app's database login cannot be ended", role=login.role)

    async def _report(self, role: str, reason: str, is_shut: bool) -> None:
        app_id: str | None = None
        with suppress(Unavailable):
            app_id = await store.app_of(self._statements, _number_of(role))
        action = "its database sessions were ended"
        if is_shut:
            action = "its database login is shut"
        if _is_reader(role):
            action = f"the database reader {role}: {action}"
        log.warning("a login held too much", app_id=app_id, role=role, why=reason, done=action)
        logs = self._services.find(LOGS)
        if app_id is not None and logs is not None:
            logs.write(app_id, "system", f"{action}: {reason}")


def _number_of(role: str) -> int:
    """Return the number of a login, which follows the letter of its kind."""
    return int(role.rpartition("_")[2][1:])


def _is_reader(role: str) -> bool:
    return "_r" in role


def _find_flooding(holdings: Holdings) -> Sequence[HeldLogin]:
    """Logins with too many locks; where all together have half of the room, the one with most.

    One login may have 1000 locks, or an eighth of the lock table where that is less.
    """
    max_locks = min(1000, holdings.room // 8)
    logins = [login for login in holdings.logins if login.reached]
    flooding = [login for login in logins if login.locks > max_locks]
    if flooding:
        return flooding
    all_locks = sum(login.locks for login in logins)
    if all_locks > holdings.room // 2:
        return [max(logins, key=lambda login: login.locks)]
    return []


def _is_full(error: Exception) -> bool:
    """Whether there is no room in the table of locks: a refused connection has no SQLSTATE."""
    out_of_memory = psycopg.errors.OutOfMemory
    if isinstance(error, out_of_memory) or isinstance(error.__cause__, out_of_memory):
        return True
    return isinstance(error, psycopg.OperationalError) and "out of shared memory" in str(error)


async def _begin(connection: AsyncConnection[Any]) -> None:
    """Begin the transaction of the watch, which also says that a server process runs."""
    await _ask(connection, "begin")
    await _ask(connection, store.HOLD)


async def _look(connection: AsyncConnection[Any]) -> Holdings:
    await _ask(connection, _FRESH)
    return _holdings(await _ask(connection, _LOOK))


async def _end(connection: AsyncConnection[Any], role: str, longest: float) -> int:
    """End sessions whose transaction is so old, or all, and wait for that; returns how many."""
    count = 0
    for patience in (sql.SQL(""), sql.SQL(", 300")):  # signal all, then wait 300 ms for each
        await _ask(connection, _FRESH)
        query = sql.SQL(_END).format(patience, sql.Literal(role), sql.Literal(longest))
        count = max(count, int(await _ask(connection, query)))
    return count


async def _ask(connection: AsyncConnection[Any], query: Any) -> str:
    """Run one statement by the simple protocol: no portal is left, whose snapshot would stay."""
    row: tuple[Any, ...] | None = None
    with anyio.fail_after(20):  # more than PostgreSQL itself gives a statement
        cursor = await connection.execute(query, prepare=False)
        if cursor.description:
            row = await cursor.fetchone()
    if row is None:
        return ""
    return str(row[0])
