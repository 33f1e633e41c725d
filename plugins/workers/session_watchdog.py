"""Ends what logins of apps hold against everybody: locks without number, transactions without end.

PostgreSQL has one table of locks for all its databases, and its limits of time are each session's
own to set. Who fills the table stops every write of everybody, and every new connection. So one
connection stands ready, in a transaction that has the locks already which looking takes: it finds
and ends sessions when there is no room left.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import msgspec
import psycopg
import structlog
from anyio.abc import TaskStatus
from psycopg import AsyncConnection, sql

from kernel.public import Pool, Unavailable

from .logins import Logins
from .models import HeldLogin, Holdings

PAUSE: Final = 2.0
"""Seconds between two looks."""

SOON: Final = 0.1
"""Seconds until the next look after sessions were ended."""

RETRY: Final = 0.3
"""Seconds after the connection was lost."""

ANSWER: Final = 20.0
"""Seconds for an answer: more than PostgreSQL itself gives a statement."""

RENEW: Final = 60.0
"""Seconds that the transaction stands: whoever wants these catalogs for himself has a turn then."""

MOST_LOCKS: Final = 1000
"""Locks of one login, or an eighth of all that there is room for where that is less."""

CROWDED: Final = 0.25
"""How full the queue of notifications may be while transactions keep it from being emptied."""

BRIEF: Final = 5.0
"""Seconds that a transaction may take all the same while it is crowded."""

AGAIN: Final = 600.0
"""Seconds in which a second flood shuts a login."""

TRIES: Final = 20
"""How often a flood that comes back is ended until its login is shut."""

LEAVE: Final = 300
"""Milliseconds that a session has to end."""

# Nobody reads the result; settings that this PostgreSQL does not have are left out.
_ENDLESS: Final = """
select set_config(name, '0', false) from pg_settings
where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')"""

_FRESH: Final = "select pg_stat_clear_snapshot()"

# Each catalog that is read on the way is named here, so that the first look takes all the locks,
# those of its indexes too: pg_auth_members is read to tell whether we may end a session.
_LOOK: Final = """
with held as materialized (
    select pid, count(*) as locks from pg_locks where not fastpath group by pid
),
logins as (
    select r.rolname as role, substring(r.rolname from '[0-9]+$')::bigint as number,
        pg_has_role(r.oid, 'usage') as reached, c.description as comment,
        coalesce(sum(h.locks), 0)::bigint as locks,
        coalesce(max(extract(epoch from clock_timestamp() - s.xact_start)), 0) as age,
        count(s.pid) as sessions
    from pg_database as d
    join pg_roles as r on r.rolname ~ format('^caudex_%s_w[0-9]+$', d.oid)
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
        where l.sessions > 0 or not l.reached or l.comment is not null)
)::text"""

_END: Final = """
select count(pg_terminate_backend(pid{})) from pg_stat_activity
where usename = {} and clock_timestamp() - coalesce(xact_start, clock_timestamp())
    >= make_interval(secs => {})"""

_holdings = msgspec.json.Decoder(Holdings).decode

log = structlog.get_logger("caudex.workers")


class SessionWatchdog:
    """One for each server process."""

    def __init__(
        self,
        pool: Pool,
        logins: Logins,
        longest: float,
        tell: Callable[[str, str], object],
        kill_workers: Callable[[], Awaitable[None]],
    ) -> None:
        """`longest` is how many seconds a transaction may take; `tell` writes into an app's log.

        `kill_workers` ends those of this process.
        """
        self._pool = pool
        self._logins = logins
        self._longest = longest
        self._notify_waiters = tell
        self._kill_workers = kill_workers
        self._floods: dict[str, float] = {}
        self._beyond = set[str]()
        """Logins that cannot be made ours to end."""
        self._away = self._emptied = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch for ever; the task has started when the first look is over, however it went."""
        waiting = [task_status]

        def looked() -> None:
            while waiting:
                waiting.pop().started()

        while True:
            try:
                if not await self._logins.may():
                    break
                async with self._connected() as connection:
                    await self._stand(connection, looked)
            except Exception as error:  # whatever it is, somebody has to look
                await self._lost(error)
            looked()
            await anyio.sleep(RETRY)
        looked()

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[AsyncConnection[Any]]:
        connection = await self._pool.connect()
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()

    async def _lost(self, error: Exception) -> None:
        """Where a full table keeps us from looking who fills it, every worker has to go.

        One that is brought up needs the database first, so they are back after us.
        """
        if not self._away:
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.warning("the database logins of apps are not watched", error=said)
        self._away = True
        if not _is_full(error):
            return
        if not self._emptied:
            log.error("the database has no room for locks: all workers here are started anew")
        self._emptied = True
        await self._kill_workers()

    async def _stand(self, connection: AsyncConnection[Any], looked: Callable[[], object]) -> None:
        """Look again and again. Raises psycopg.Error, OSError when the connection is of no use."""
        await _ask(connection, _ENDLESS)
        await _ask(connection, "begin")
        renew = anyio.current_time() + RENEW
        while True:
            found = await _look(connection)
            self._away = self._emptied = False
            self._logins.shut = {
                login.number: why for login in found.logins if (why := login.shut) is not None
            }
            acted = await self._act(connection, found)
            looked()
            if not acted and anyio.current_time() >= renew:
                # Only now, when nobody holds much, and looked again before anybody could.
                await _ask(connection, "commit")
                await _ask(connection, "begin")
                renew = anyio.current_time() + RENEW
                continue
            await anyio.sleep(SOON if acted else PAUSE)

    async def _act(self, connection: AsyncConnection[Any], found: Holdings) -> bool:
        """End what is too much; returns whether anything was."""
        acted = False
        for login in _flooding(found):
            await self._end_flood(connection, login)
            acted = True
        longest = BRIEF if found.queue > CROWDED else self._longest
        for login in found.logins:
            if login.reached and login.age > longest:
                acted |= await self._end_old(connection, login, longest)
            if not login.reached and login.role not in self._beyond:
                await self._reach(login)
        return acted

    async def _end_flood(self, connection: AsyncConnection[Any], login: HeldLogin) -> None:
        why = f"it held {login.locks} locks in the database"
        now = anyio.current_time()
        again = now < self._floods.get(login.role, -math.inf) + AGAIN
        self._floods = {role: at for role, at in self._floods.items() if now < at + AGAIN}
        self._floods[login.role] = now
        shut = False
        for _ in range(TRIES if again else 1):
            await _end(connection, login.role, 0)
            if again and not shut:
                shut = await self._shut(login, why)
            elif again:  # and nobody came in meanwhile
                break
        await self._last_told(login, why, shut)

    async def _end_old(
        self, connection: AsyncConnection[Any], login: HeldLogin, longest: float
    ) -> bool:
        if not await _end(connection, login.role, longest):
            return False  # it has come to its end by itself
        await self._last_told(login, f"a transaction took more than {longest:g} seconds", False)
        return True

    async def _shut(self, login: HeldLogin, why: str) -> bool:
        try:
            await self._logins.shut_out(login.role, login.number, why)
        except Unavailable:  # the table is full again
            return False
        except Exception as error:
            log.error("the database login of an app stays open", role=login.role, exc_info=error)
            return False
        return True

    async def _reach(self, login: HeldLogin) -> None:
        """Become a member of a login that was made before we did so at once."""
        try:
            reached = await self._logins.reach(login.role)
        except Unavailable:
            return
        if not reached:
            self._beyond.add(login.role)
            log.warning("sessions of an app's database login cannot be ended", role=login.role)

    async def _last_told(self, login: HeldLogin, why: str, shut: bool) -> None:
        app_id = await self._logins.app_of(login.number)
        done = "its database login is shut" if shut else "its database sessions were ended"
        log.warning("a worker held too much", app_id=app_id, role=login.role, why=why, done=done)
        if app_id is not None:
            self._notify_waiters(app_id, f"{done}: {why}")


def _flooding(found: Holdings) -> Sequence[HeldLogin]:
    """Logins with too many locks; where all together have half of the room, the one with most."""
    most = min(MOST_LOCKS, found.room // 8)
    logins = [login for login in found.logins if login.reached]
    flooding = [login for login in logins if login.locks > most]
    if not flooding and sum(login.locks for login in logins) > found.room // 2:
        flooding = [max(logins, key=lambda login: login.locks)]
    return flooding


def _is_full(error: Exception) -> bool:
    """Whether there is no room in the table of locks: a refused connection has no SQLSTATE."""
    causes = (error, error.__cause__)
    return any(isinstance(each, psycopg.errors.OutOfMemory) for each in causes) or (
        isinstance(error, psycopg.OperationalError) and "out of shared memory" in str(error)
    )


async def _look(connection: AsyncConnection[Any]) -> Holdings:
    await _ask(connection, _FRESH)
    return _holdings(await _ask(connection, _LOOK))


async def _end(connection: AsyncConnection[Any], role: str, longest: float) -> int:
    """End sessions whose transaction is so old, or all, and wait for that; returns how many."""
    count = 0
    for patience in (sql.SQL(""), sql.SQL(", {}").format(LEAVE)):  # all are told, then waited for
        await _ask(connection, _FRESH)
        query = sql.SQL(_END).format(patience, sql.Literal(role), sql.Literal(longest))
        count = max(count, int(await _ask(connection, query)))
    return count


async def _ask(connection: AsyncConnection[Any], query: Any) -> str:
    """Run one statement by the simple protocol: no portal is left, whose snapshot would stay."""
    with anyio.fail_after(ANSWER):
        cursor = await connection.execute(query, prepare=False)
        row = await cursor.fetchone() if cursor.description else None
    return "" if row is None else str(row[0])
