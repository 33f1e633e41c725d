"""The messages between server and worker: one JSON object a line, distinguished by `type`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from kernel.public import Caller

MAX_PARAMS: Final = 10_000_000
"""Bytes of the parameters or the result of a call."""

MAX_FRAME: Final = MAX_PARAMS * 11 // 10
"""Bytes of a line that is a message."""

MAX_LINE: Final = 1024 * 1024
"""Bytes of any other line; a longer one is cut."""

MAX_BATCH: Final = 64 * 1024
"""Bytes of payloads in a line with many jobs, as a pipe holds. A longer line would keep its first
job waiting for the last, and calls for the worker that parses it."""

EDGE: Final = 4096
"""Bytes at both ends of a line that is too long, where the id of its call is looked for."""

NOTHING: Final = msgspec.Raw(b"null")
_ID: Final = re.compile(rb'"id"\s*:\s*"([^"\\]{1,100})"')


class ToWorker(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A message to the worker."""


class Hello(ToWorker, frozen=True, tag="discover", omit_defaults=True):
    """The first message."""

    app_id: str
    runtime_url: str
    credentials: Mapping[str, str]
    database_url: str | None = None


class Rpc(ToWorker, frozen=True, tag="rpc"):
    """A call; `request_id` is that of the HTTP request, and of audit rows."""

    id: str
    method: str
    params: msgspec.Raw
    caller: Caller
    request_id: str = ""


class BatchedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job of many; `caller` is the user who enqueued it, if any."""

    id: str
    payload: msgspec.Raw
    caller: Caller | None


class Job(BatchedJob, ToWorker, frozen=True, tag="job"):
    """A job alone."""


class Jobs(ToWorker, frozen=True, tag="jobs"):
    """Jobs that go to a worker together, if its `discover` has `batches`."""

    jobs: Sequence[BatchedJob]


class JobCancel(ToWorker, frozen=True, tag="job_cancel"):
    """A job that should end."""

    id: str


class OpResult(ToWorker, frozen=True, tag="collection_op_result"):
    """The outcome of a collection_op."""

    id: str | int
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    unavailable: Literal["unchanged", "unknown"] | msgspec.UnsetType = msgspec.UNSET
    """With an error: the database was away, and whether the operation had no effect."""
    status: int | msgspec.UnsetType = msgspec.UNSET
    """With an error: the status that a route would have answered with."""
    current: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """With the status 412: the record as it is now, where the caller may read it."""


class Shutdown(ToWorker, frozen=True, tag="shutdown"):
    """Finish what is under way and exit."""


def describe_caller(caller: Caller) -> Caller:
    """Return a caller as a worker gets to know it."""
    if caller.limits is msgspec.UNSET:
        return caller
    return replace(caller, limits=msgspec.UNSET)


class FromWorker(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A message from the worker."""


class Discovered(FromWorker, frozen=True, tag="discover"):
    """The worker is up."""

    methods: msgspec.Raw = NOTHING
    handlers: msgspec.Raw = NOTHING
    """What it declares of its handlers, see `replica.handlers`."""
    batches: Any = None
    """Whether it reads `jobs`: only `true` says so."""


class Settled(FromWorker, frozen=True):
    """An outcome: a result, or an error (a text, or any other JSON)."""

    id: str
    result: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING
    unavailable: msgspec.Raw = NOTHING
    """`true` where the handler ended because something was unavailable."""

    @property
    def has_failed(self) -> bool:
        """Whether it is an error."""
        return self.error is not NOTHING and bytes(self.error) != b"null"


class RpcResponse(Settled, frozen=True, tag="rpc_response"):
    """The outcome of a call."""


class JobResult(Settled, frozen=True, tag="job_result"):
    """The outcome of a job."""


class JobProgress(FromWorker, frozen=True, tag="job_progress"):
    """The progress of a job."""

    id: str
    value: msgspec.Raw


class Log(FromWorker, frozen=True, tag="log"):
    """A line for the app's log; `call` is the id of the rpc or job that it was written for."""

    message: msgspec.Raw
    level: str = "info"
    call: str | None = None


class AppEvent(FromWorker, frozen=True, tag="event"):
    """An event that the app reports."""

    name: str
    data: msgspec.Raw = NOTHING


class CollectionOp(FromWorker, frozen=True, tag="collection_op"):
    """A read or write of records; `call` is the id of the rpc or job that it serves.

    `op` is insert, update, delete, find or findOne, or an operation of `Records.operate` in
    `kernel.contracts`. Writes with a `key` or `if_match` are operations of that as well.
    """

    id: str
    op: str
    entity: str = ""
    data: dict[str, Any] = {}
    call: str | None = None
    key: str | None = None
    if_match: str | None = None


class InvalidOp(FromWorker, frozen=True, tag="collection_op"):
    """A `collection_op` that is not valid, and why; its handler waits for an answer too."""

    id: str | int
    why: str = ""


Incoming = Discovered | RpcResponse | JobResult | JobProgress | Log | AppEvent | CollectionOp
NoOutcome = Discovered | JobProgress | Log | AppEvent | CollectionOp | InvalidOp

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Incoming).decode
_decode_invalid = msgspec.json.Decoder(InvalidOp).decode


def encode_message(message: ToWorker) -> bytes:
    """Encode a message as one line."""
    return _encode(message) + b"\n"


def encode_jobs(jobs: Sequence[BatchedJob]) -> bytes:
    """Encode one job as a `job` message, many as a `jobs` message, or as several if it is long."""
    if len(jobs) == 1:
        [job] = jobs
        return encode_message(Job(id=job.id, payload=job.payload, caller=job.caller))
    size = sum([len(job.payload) for job in jobs])
    if size <= MAX_BATCH:
        return encode_message(Jobs(jobs=jobs))
    half = len(jobs) // 2
    return encode_jobs(jobs[:half]) + encode_jobs(jobs[half:])


def join_lines(raw: bytes) -> msgspec.Raw:
    """Take the line breaks out of JSON."""
    # `in` takes the bytes for a number at first: the error that it drops costs ten searches.
    has_breaks = raw.find(b"\n") >= 0 or raw.find(b"\r") >= 0
    if has_breaks:
        raw = msgspec.json.format(raw, indent=-1)
    return msgspec.Raw(raw)


def decode_message(line: bytes) -> Incoming | InvalidOp | None:
    """Decode a line of a worker; None when it is no message."""
    if not line.startswith(b"{"):
        return None
    try:
        if not line.isascii():
            line.decode()  # parts of it are passed on as they are, so all of it must be UTF-8
        return _decode(line)
    except msgspec.ValidationError as error:
        return _decode_invalid_op(line, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decode_invalid_op(line: bytes, why: str) -> InvalidOp | None:
    """Decode what was not valid. The decoder stopped there, so the rest may not even be JSON."""
    try:
        return msgspec.structs.replace(_decode_invalid(line), why=why)
    except (msgspec.DecodeError, RecursionError):
        return None


def find_ids(edges: bytes) -> list[str]:
    """Find ids in a line that cannot be read."""
    return [match.decode("ascii", "replace") for match in _ID.findall(edges)]


def describe_value(value: msgspec.Raw) -> str:
    """Make a text of a value: its `message` if it is an object that has one, else its JSON."""
    text = bytes(value).decode("utf-8", "replace")
    try:
        decoded: object = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return text
    if isinstance(decoded, dict):
        decoded = decoded.get("message")  # type: ignore[reportUnknownVariableType]
    return decoded if isinstance(decoded, str) else text


def to_text(line: bytes) -> str:
    """Return a line as text that can be stored, cut at the limit."""
    return line[:MAX_LINE].decode("utf-8", "replace").replace("\0", "\ufffd")
