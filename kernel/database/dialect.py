"""The dialect of STATEMENTS on one connection: parameters as text, results as bytes, errors of the
kernel."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from math import inf
from time import monotonic
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from kernel import errors
from kernel.contracts.statements import Param, Query, Scalar
from kernel.errors import ConnectionLost, OutcomeUnknown
from kernel.errors.source_lines import steps_here

LARGE: Final = 4_000_000
"""Bytes of a message after which a connection is replaced: libpq keeps the buffer of its largest
one."""
_REFUSED: Final = ("22", "54")
_AWAY: Final = ("08", "40", "53", "57", "58")
_BUSY: Final = ("55P03", "25P03", "25006")
_CANCELLED: Final = "57014"
_REPEATABLE: Final = ("40001", "40P01")
_GONE: Final = ("42703", "42804", "42883", "42P01", "3F000")
"""Errors of a compiled statement when a column, its type or the table has changed."""
_WRONG: Final = ("42", "3F", "0A")
"""Errors of a statement of literal text that another try would meet again."""
_WRONG_COUNT: Final = "08P01"
"""The error of a statement that is given fewer parameters than it has, or more."""
_TOKEN: Final = re.compile(r"'[^']*'|[\w.\"$]+|\S")
_PRINTED: Final = frozenset((str, int, float))
"""Types of most parameters, compared first: one `isinstance` that is false takes as long as their
whole conversion."""
_FULL: Final = (PoolTimeout, TooManyRequests, PoolClosed)

log = structlog.get_logger("caudex.db")


class AsText(Dumper):
    """Each parameter is encoded text of the type that its cast names."""

    oid = 0

    def dump(self, obj: bytes) -> bytes:
        """Return it unchanged."""
        return obj


def to_text(param: Param) -> bytes | None:
    """Encode a parameter as PostgreSQL reads it. Raises BadRequest for what text cannot contain."""
    if param is None:
        return None
    try:
        if type(param) in _PRINTED:
            text = str(param).encode()
        else:
            text = param if isinstance(param, bytes) else _print(param).encode()
    except UnicodeEncodeError:
        raise errors.BadRequest("text must not contain half a surrogate pair") from None
    if 0 in text:  # `b"\0" in text` raises and catches an error within bytes
        raise errors.BadRequest("text must not contain the character U+0000")
    return text


def to_texts(params: Sequence[Param]) -> list[bytes | None]:
    """Encode the parameters of a statement. Raises BadRequest for more than libpq can send."""
    if len(params) > 65_535:
        raise errors.BadRequest("a statement takes 65535 values at most")
    return list(map(to_text, params))


def _print(param: Param) -> str:
    if isinstance(param, str):
        return param
    if isinstance(param, bool):
        return "true" if param else "false"
    # `int | float | UUID` would build a union in each call.
    if isinstance(param, (int, float, UUID)):
        return str(param)
    if isinstance(param, datetime):
        return param.isoformat()
    if isinstance(param, Mapping):
        raise TypeError("a parameter is a mapping: encode it by msgspec.json.encode")
    return "{" + ",".join(map(_print_item, param or ())) + "}"


def _print_item(item: Scalar) -> str:
    if item is None:
        return "NULL"
    return '"' + _print(item).replace("\\", "\\\\").replace('"', '\\"') + '"'


class Crowded(errors.Unavailable):
    """No connection was free for as long as a request waits for one. Nothing was sent."""


class DiskWatch:
    """Whether PostgreSQL has said in the last half minute that its disk is full."""

    def __init__(self) -> None:
        self._full_at = -inf

    @property
    def full(self) -> bool:
        """Whether writes are refused at the moment, as far as this process knows."""
        return monotonic() - self._full_at < 30

    def note_refusal(self) -> errors.Unavailable:
        """Note that a write was refused, and return the error for its caller."""
        if not self.full:
            log.error("the disk of the database is full: writes are refused")
        self._full_at = monotonic()
        return errors.Unavailable("the disk of the database is full", retry_after=30)


disk = DiskWatch()


def translate(error: psycopg.Error) -> errors.KernelError | None:
    """Map an SQLSTATE (appendix A of PostgreSQL's manual) to an error of the kernel; None means a
    defect of the server.

    Messages never contain SQL, names of hosts or values of other rows.
    """
    state = error.sqlstate or ""
    message = error.diag.message_primary or ""
    if isinstance(error, _FULL):
        return Crowded("the database has no free connection")
    if not state:
        if isinstance(error, psycopg.OperationalError):
            return ConnectionLost("the database is not available")
        return None
    if state == _WRONG_COUNT:
        return None
    if state == "23503" and _is_of_removed_app(error):
        return errors.NotFound("the app is not installed")
    if state.startswith("23"):
        return errors.ConstraintViolation(
            "a value breaks a rule of the table",
            sqlstate=state,
            table=error.diag.table_name or "",
            column=error.diag.column_name or "",
            constraint=error.diag.constraint_name or "",
        )
    if state == "53100":
        return disk.note_refusal()
    # The queue of NOTIFY is full where a listener reads nothing.
    if state in _REPEATABLE or (state == "54000" and "NOTIFY" in message):
        return errors.Unavailable("too many changes at the same moment")
    if state[:2] in _REFUSED:
        return errors.BadRequest(message or "a value cannot be stored")
    if state in _GONE:
        log.warning("a statement does not fit the schema", sqlstate=state, error=message)
    if state in _GONE or _is_stale(error):
        return errors.SchemaChanged("the schema changed while the request was running")
    if state.startswith(("08", "57P")):
        return ConnectionLost("the database is not available")
    if state == _CANCELLED:
        return errors.Unavailable("a statement took longer than it may")
    if state in _BUSY or state[:2] in _AWAY:
        return errors.Unavailable("the database is busy or not available")
    return None


def statement_fault(error: psycopg.Error, query: Query) -> errors.StatementFailed | None:
    """Return the error of a statement whose own text is wrong, or None.

    Literal text cannot become outdated as a compiled statement can. A wrong value is the
    statement's own where PostgreSQL has a position for it, and else that of a parameter.
    """
    state = error.sqlstate or ""
    diagnosis = error.diag
    position = diagnosis.statement_position
    is_wrong = state[:2] in _WRONG or state == _WRONG_COUNT
    has_wrong_literal = state[:2] in _REFUSED and position is not None
    if not isinstance(query, str) or not (is_wrong or has_wrong_literal) or _is_stale(error):
        return None
    message = f"{diagnosis.message_primary} (SQLSTATE {state})"
    if position is not None:
        token = _TOKEN.search(query, int(position) - 1)
        if token is not None:
            message = f"{message}, at {token[0]}"
    return errors.StatementFailed(message, sqlstate=state, hint=diagnosis.message_hint or "")


def reason(error: Exception) -> str:
    """Return the line of libpq's message that describes the failure."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if "failed:" in line), lines[0]).strip("- ")


def is_repeatable(error: BaseException | None) -> bool:
    """Whether the same transaction can succeed when it runs again."""
    return isinstance(error, psycopg.Error) and (error.sqlstate in _REPEATABLE or _is_stale(error))


def _is_of_removed_app(error: psycopg.Error) -> bool:
    """Whether a row of a plugin references an app that was removed meanwhile."""
    schema = error.diag.schema_name or ""
    constraint = error.diag.constraint_name or ""
    return schema.startswith("caudex_") and constraint.endswith("app_id_fkey")


def _is_stale(error: psycopg.Error) -> bool:
    """Whether the result of a prepared statement changed its type: PostgreSQL refuses it from then
    on."""
    return error.sqlstate == "0A000" and "cached plan" in (error.diag.message_primary or "")


def describe_begun_transaction() -> errors.TransactionFailed:
    """Return the error of a single statement that began a transaction."""
    problem = "a single statement begins a transaction"
    return errors.TransactionFailed(problem, "use statements.run", steps_here())


@contextmanager
def translated(query: Query = b"") -> Generator[None]:
    """Raise the kernel's errors in place of the driver's, for the statement `query`."""
    try:
        yield
    except psycopg.Error as error:
        translation = statement_fault(error, query) or translate(error)
        if translation is None:
            raise
        try:
            raise translation from error
        finally:
            del translation  # see `errors.forget_frames`


@contextmanager
def raise_unknown_outcome() -> Generator[None]:
    """Raise OutcomeUnknown in place of ConnectionLost, around a statement that writes."""
    try:
        yield
    except ConnectionLost as error:
        raise OutcomeUnknown from error


class Connection(AsyncConnection[Any]):
    """A connection to PostgreSQL; see also `kernel.contracts.statements.HeldConnection`."""

    oversized = False
    """Whether it carried a large message."""
    patient = True
    """See `HeldConnection.patient`: it is one transaction's own."""

    @property
    def status(self) -> int:
        """See `HeldConnection.status`."""
        return self.pgconn.transaction_status

    async def run(
        self, query: Query, params: Sequence[Param] = (), *, prepare: bool = False
    ) -> PGresult | None:
        """See `HeldConnection.run`; what is not prepared is planned for its values."""
        values = to_texts(params)
        with translated(query):
            try:
                cursor = await self.execute(query, values or None, prepare=prepare and None)
            except psycopg.errors.FeatureNotSupported as error:
                if not _is_stale(error) or self.status != TransactionStatus.IDLE:
                    raise
                await self.execute("deallocate all")
                cursor = await self.execute(query, values or None, prepare=False)
        result = cursor.pgresult
        if any(text and len(text) > LARGE for text in (*values, first_value(result))):
            self.oversized = True
        return result

    async def script(self, statements: bytes) -> None:
        """See `HeldConnection.script`."""
        await self.run(statements)

    async def interrupt(self) -> None:
        """See `HeldConnection.interrupt`."""
        with suppress(psycopg.Error):
            await self.cancel_safe(timeout=5.0)


def first_value(result: PGresult | None) -> bytes | None:
    """Return the first column of the first row; None without a row, and for NULL."""
    if result is None or not result.ntuples:
        return None
    return result.get_value(0, 0)


def first_column(result: PGresult | None) -> list[bytes]:
    """Return the first column of every row, NULL as `null`."""
    if result is None:
        return []
    values = [result.get_value(row, 0) for row in range(result.ntuples)]
    return [b"null" if value is None else value for value in values]


class FirstColumns:
    """The methods of Reader and Writer, in terms of one that returns whole results."""

    async def read(
        self, query: Query, params: Sequence[Param], custom_plan: bool = False, quick: bool = True
    ) -> PGresult | None:
        """Run a statement that may be sent twice."""
        raise NotImplementedError

    async def write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        """Run a statement that is sent once."""
        return await self.read(query, params)

    async def fetch(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        """See `Reader.fetch`."""
        return first_value(await self.read(query, params, custom_plan, quick))

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False, quick: bool = True
    ) -> list[bytes]:
        """See `Reader.fetch_all`."""
        return first_column(await self.read(query, params, custom_plan, quick))

    async def execute(self, query: Query, *params: Param) -> bytes | None:
        """See `Writer.execute`."""
        return first_value(await self.write(query, params))

    async def execute_all(self, query: Query, *params: Param) -> list[bytes]:
        """See `Writer.execute_all`."""
        return first_column(await self.write(query, params))
