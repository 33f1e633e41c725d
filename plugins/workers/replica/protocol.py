"""The wire between server and worker: one JSON object a line, told apart by `type`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from kernel.public import Caller

MAX_FRAME: Final = 10 * 1024 * 1024
"""Bytes of a line that is a message."""

MAX_LINE: Final = 1024 * 1024
"""Bytes of any other line; what is longer is cut."""

EDGE: Final = 4096
"""Bytes at both ends of a line that is too long, where the id of its call is looked for."""

_NOTHING: Final = msgspec.Raw(b"null")
_ID: Final = re.compile(rb'"id"\s*:\s*"([^"\\]{1,100})"')


class ToWorker(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What the server says."""


class Hello(ToWorker, frozen=True, tag="discover", omit_defaults=True):
    """The first message."""

    app_id: str
    runtime_url: str
    credentials: Mapping[str, str]
    database_url: str | None = None


class Rpc(ToWorker, frozen=True, tag="rpc"):
    """A call."""

    id: str
    method: str
    params: msgspec.Raw
    caller: Caller


class Job(ToWorker, frozen=True, tag="job"):
    """A job; `caller` is who enqueued it, if anybody did."""

    id: str
    payload: msgspec.Raw
    caller: Caller | None


class JobCancel(ToWorker, frozen=True, tag="job_cancel"):
    """A job is not wanted any more."""

    id: str


class OpResult(ToWorker, frozen=True, tag="collection_op_result"):
    """What became of a collection_op."""

    id: str | int
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET


class Shutdown(ToWorker, frozen=True, tag="shutdown"):
    """Finish what is under way and exit."""


class FromWorker(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What a worker says."""


class Discovered(FromWorker, frozen=True, tag="discover"):
    """It is up."""

    methods: Any = None


class Settled(FromWorker, frozen=True):
    """An outcome: a result, or an error (text, or anything that says something)."""

    id: str
    result: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING

    @property
    def failed(self) -> bool:
        """Whether it is an error."""
        return bytes(self.error) != b"null"


class RpcResponse(Settled, frozen=True, tag="rpc_response"):
    """The outcome of a call."""


class JobResult(Settled, frozen=True, tag="job_result"):
    """The outcome of a job."""


class JobProgress(FromWorker, frozen=True, tag="job_progress"):
    """How far a job is."""

    id: str
    value: msgspec.Raw


class Log(FromWorker, frozen=True, tag="log"):
    """A line for the app's log."""

    message: msgspec.Raw
    level: str = "info"


class AppEvent(FromWorker, frozen=True, tag="event"):
    """Something that the app wants to be known."""

    name: str
    data: msgspec.Raw = _NOTHING


class CollectionOp(FromWorker, frozen=True, tag="collection_op"):
    """A read or write of records; `call` is the id of the rpc or job that it serves."""

    id: str
    op: Literal["insert", "update", "find", "findOne", "delete"]
    entity: str
    data: dict[str, Any] = {}
    call: str | None = None


class InvalidOp(FromWorker, frozen=True, tag="collection_op"):
    """A `collection_op` that does not fit, and why; a handler waits for its answer all the same."""

    id: str | int
    why: str = ""


Incoming = Discovered | RpcResponse | JobResult | JobProgress | Log | AppEvent | CollectionOp

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Incoming).decode
_decode_invalid = msgspec.json.Decoder(InvalidOp).decode


def frame(message: ToWorker) -> bytes:
    """Write a message as one line."""
    return _encode(message) + b"\n"


def single_line(raw: bytes) -> msgspec.Raw:
    """Take the line breaks out of JSON: the wire is framed by lines."""
    broken = b"\n" in raw or b"\r" in raw
    return msgspec.Raw(msgspec.json.format(raw, indent=-1) if broken else raw)


def read(line: bytes) -> Incoming | InvalidOp | None:
    """Read a line of a worker; None when it is no message."""
    if not line.startswith(b"{"):
        return None
    try:
        line.decode()  # what is handed on as it stands must be UTF-8 all through
        return _decode(line)
    except msgspec.ValidationError as error:
        return _invalid_op(line, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _invalid_op(line: bytes, why: str) -> InvalidOp | None:
    """Read what did not fit: up to there, so the rest may even be no JSON."""
    try:
        return msgspec.structs.replace(_decode_invalid(line), why=why)
    except (msgspec.DecodeError, RecursionError):
        return None


def ids_in(edges: bytes) -> Iterable[str]:
    """Find ids in a line that cannot be read."""
    return (match.decode("ascii", "replace") for match in _ID.findall(edges))


def describe_value(value: msgspec.Raw) -> str:
    """Make text of what should be text: a `message` within an object, else the JSON itself."""
    try:
        found: object = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = found.get("message")  # type: ignore[reportUnknownVariableType]
    return found if isinstance(found, str) else bytes(value).decode("utf-8", "replace")
