"""The dialect of STATEMENTS on one connection: parameters as text, results as bytes, errors of the
kernel."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

import psycopg
import structlog
from psycopg.adapt import Dumper
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from kernel.contracts.statements import Param, Query, Scalar
from kernel.database.connect import Connection
from kernel.errors import (
    BadRequest,
    ConstraintViolation,
    KernelError,
    NotFound,
    SchemaChanged,
    Unavailable,
)


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
        text = param.encode() if isinstance(param, str) else _bytes(param)
    except UnicodeEncodeError:
        raise BadRequest("text must not contain half a surrogate pair") from None
    if b"\0" in text:
        raise BadRequest("text must not contain the character U+0000")
    return text


def _bytes(param: Param) -> bytes:
    return param if isinstance(param, bytes) else _plain(param).encode()


def _plain(param: Param) -> str:
    if isinstance(param, str):
        return param
    if isinstance(param, bytes):
        return param.decode("utf-8", "replace")
    if isinstance(param, bool):
        return "true" if param else "false"
    if isinstance(param, int | float | UUID):
        return str(param)
    if isinstance(param, datetime):
        return param.isoformat()
    return "{" + ",".join(_item(item) for item in param or ()) + "}"


def _item(item: Scalar) -> str:
    if item is None:
        return "NULL"
    return '"' + _plain(item).replace("\\", "\\\\").replace('"', '\\"') + '"'


class ConnectionLost(Unavailable):
    """The connection broke during a statement, which changed nothing unless this is an
    `OutcomeUnknown`."""


class OutcomeUnknown(ConnectionLost):
    """The connection broke during a write or a commit that may be applied: a retry could repeat
    it."""

    def __init__(self) -> None:
        message = "the connection to the database broke: the change may have been made; "
        super().__init__(message + "look before you repeat it", retry_after=None)


LARGE: Final = 4_000_000
"""Bytes of a message after which a connection is replaced."""
_REFUSED: Final = ("22", "54")
_AWAY: Final = ("08", "40", "53", "57", "58")
_BUSY: Final = ("55P03", "25P03", "25006")
_REPEATABLE: Final = ("40001", "40P01")
_GONE: Final = ("42703", "42804", "42883", "42P01", "3F000")
"""Errors of a compiled statement when a column, its type or the table has changed."""

log = structlog.get_logger("caudex.db")

_FULL: Final = (PoolTimeout, TooManyRequests, PoolClosed)


def translate(error: psycopg.Error) -> KernelError | None:
    """Map an SQLSTATE (appendix A of PostgreSQL's manual) to an error of the kernel; None means a
    defect of the server.

    Messages never contain SQL, names of hosts or values of other rows.
    """
    state, message = error.sqlstate or "", error.diag.message_primary or ""
    if isinstance(error, _FULL):
        return Unavailable("the database has no free connection")
    if not state:
        lost = isinstance(error, psycopg.OperationalError)
        return ConnectionLost("the database is not available") if lost else None
    if state == "23503" and _of_removed_app(error):
        return NotFound("the app is not installed")
    if state.startswith("23"):
        return ConstraintViolation(
            "a value breaks a rule of the table",
            sqlstate=state,
            table=error.diag.table_name or "",
            column=error.diag.column_name or "",
            constraint=error.diag.constraint_name or "",
        )
    if state == "54000" and "NOTIFY" in message:  # its queue is full: a listener reads nothing
        return Unavailable("too many changes at the same moment")
    if state[:2] in _REFUSED:
        return BadRequest(message or "a value cannot be stored")
    if state in _GONE:  # a mistake in the statement looks the same, so it is logged
        log.warning("a statement does not fit the schema", sqlstate=state, error=message)
    if state in _GONE or _stale(error):
        return SchemaChanged("the schema changed while the request was running")
    if state in _REPEATABLE:
        return Unavailable("too many changes at the same moment")
    if state.startswith(("08", "57P")):
        return ConnectionLost("the database is not available")
    if state in _BUSY or state[:2] in _AWAY:
        return Unavailable("the database is busy or not available")
    return None


def repeatable(error: BaseException | None) -> bool:
    """Whether the same transaction can succeed when it runs again."""
    return isinstance(error, psycopg.Error) and (error.sqlstate in _REPEATABLE or _stale(error))


def _of_removed_app(error: psycopg.Error) -> bool:
    """Whether a row of a plugin references an app that was removed meanwhile."""
    schema, constraint = error.diag.schema_name or "", error.diag.constraint_name or ""
    return schema.startswith("caudex_") and constraint.endswith("app_id_fkey")


def _stale(error: psycopg.Error) -> bool:
    """Whether the result of a prepared statement changed its type: PostgreSQL refuses it from then
    on."""
    return error.sqlstate == "0A000" and "cached plan" in (error.diag.message_primary or "")


@contextmanager
def translated() -> Generator[None]:
    """Raise the kernel's errors in place of the driver's."""
    try:
        yield
    except psycopg.Error as error:
        if (known := translate(error)) is None:
            raise
        raise known from error


@contextmanager
def unsure() -> Generator[None]:
    """Raise OutcomeUnknown in place of ConnectionLost, around a statement that writes."""
    try:
        yield
    except ConnectionLost as error:
        raise OutcomeUnknown from error


async def run_on(
    connection: Connection, query: Query, params: Sequence[Param] = (), custom_plan: bool = False
) -> PGresult | None:
    """Run one statement; with `custom_plan` it is not prepared, and planned for these values."""
    values = [to_text(param) for param in params] or None
    prepare = False if custom_plan else None
    with translated():
        try:
            result = (await connection.execute(query, values, prepare=prepare)).pgresult
        except psycopg.errors.FeatureNotSupported as error:
            if not _stale(error) or connection.pgconn.transaction_status != TransactionStatus.IDLE:
                raise
            await connection.execute("deallocate all")
            result = (await connection.execute(query, values, prepare=False)).pgresult
    if any(text and len(text) > LARGE for text in (*(values or ()), first(result))):
        connection.oversized = True
    return result


def first(result: PGresult | None) -> bytes | None:
    """Return the first column of the first row; None without a row, and for NULL."""
    return result.get_value(0, 0) if result is not None and result.ntuples else None


def every(result: PGresult | None) -> list[bytes]:
    """Return the first column of every row, NULL as `null`."""
    if result is None:
        return []
    values = [result.get_value(row, 0) for row in range(result.ntuples)]
    return [b"null" if value is None else value for value in values]


class FirstColumns:
    """The methods of Reader and Writer, in terms of one that returns whole results."""

    async def _read(
        self, query: Query, params: Sequence[Param], custom_plan: bool
    ) -> PGresult | None:
        raise NotImplementedError

    async def _write(self, query: Query, params: Sequence[Param]) -> PGresult | None:
        return await self._read(query, params, False)

    async def fetch(self, query: Query, *params: Param, custom_plan: bool = False) -> bytes | None:
        """See `Reader.fetch`."""
        return first(await self._read(query, params, custom_plan))

    async def fetch_all(
        self, query: Query, *params: Param, custom_plan: bool = False
    ) -> list[bytes]:
        """See `Reader.fetch_all`."""
        return every(await self._read(query, params, custom_plan))

    async def execute(self, query: Query, *params: Param) -> bytes | None:
        """See `Writer.execute`."""
        return first(await self._write(query, params))

    async def execute_all(self, query: Query, *params: Param) -> list[bytes]:
        """See `Writer.execute_all`."""
        return every(await self._write(query, params))
