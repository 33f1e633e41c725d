"""The messages between server and worker: one JSON object a line, distinguished by `type`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

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


class FromWorker(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A message from the worker."""


class Discovered(FromWorker, frozen=True, tag="discover"):
    """The worker is up."""

    methods: Any = None
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
    def failed(self) -> bool:
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
    """A line for the app's log."""

    message: msgspec.Raw
    level: str = "info"


class AppEvent(FromWorker, frozen=True, tag="event"):
    """An event that the app reports."""

    name: str
    data: msgspec.Raw = NOTHING


class CollectionOp(FromWorker, frozen=True, tag="collection_op"):
    """A read or write of records; `call` is the id of the rpc or job that it serves.

    `op` is insert, update, delete, find or findOne, or an operation of `Collections.operate` in
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


def frame(message: ToWorker) -> bytes:
    """Write a message as one line."""
    return _encode(message) + b"\n"


def frame_jobs(jobs: Sequence[BatchedJob]) -> bytes:
    """Write one job as a `job` message, more as a `jobs` message, or several where that is long."""
    if len(jobs) == 1:
        [job] = jobs
        return frame(Job(id=job.id, payload=job.payload, caller=job.caller))
    if sum([len(job.payload) for job in jobs]) <= MAX_BATCH:
        return frame(Jobs(jobs=jobs))
    half = len(jobs) // 2
    return frame_jobs(jobs[:half]) + frame_jobs(jobs[half:])


def single_line(raw: bytes) -> msgspec.Raw:
    """Take the line breaks out of JSON."""
    # `in` takes the bytes for a number at first: the error that it drops costs ten searches.
    broken = raw.find(b"\n") >= 0 or raw.find(b"\r") >= 0
    return msgspec.Raw(msgspec.json.format(raw, indent=-1) if broken else raw)


def read(line: bytes) -> Incoming | InvalidOp | None:
    """Read a line of a worker; None when it is no message."""
    if not line.startswith(b"{"):
        return None
    try:
        if not line.isascii():
            line.decode()  # parts of it are passed on as they are, so all of it must be UTF-8
        return _decode(line)
    except msgspec.ValidationError as error:
        return _invalid_op(line, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _invalid_op(line: bytes, why: str) -> InvalidOp | None:
    """Read what was not valid. The decoder stopped there, so the rest may not even be JSON."""
    try:
        return msgspec.structs.replace(_decode_invalid(line), why=why)
    except (msgspec.DecodeError, RecursionError):
        return None


def ids_in(edges: bytes) -> Iterable[str]:
    """Find ids in a line that cannot be read."""
    return (match.decode("ascii", "replace") for match in _ID.findall(edges))


def describe_value(value: msgspec.Raw) -> str:
    """Make a text of a value: its `message` if it is an object that has one, else its JSON."""
    try:
        found: object = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = found.get("message")  # type: ignore[reportUnknownVariableType]
    return found if isinstance(found, str) else bytes(value).decode("utf-8", "replace")


def text_of(line: bytes) -> str:
    """Return a line as text that can be stored, cut at the limit."""
    return line[:MAX_LINE].decode("utf-8", "replace").replace("\0", "\ufffd")


class LineSplitter:
    """Makes lines of the pieces that a pipe delivers, in bounded memory.

    A line that begins like a message may have MAX_FRAME bytes, any other MAX_LINE. Of a longer
    one, `cut` gets the beginning and the edges (both ends); the rest is skipped.
    """

    def __init__(
        self, line: Callable[[bytes], None], cut: Callable[[bytes, bytes], None], *, messages: bool
    ) -> None:
        self._line = line
        self._cut = cut
        self._messages = messages
        self._pieces: deque[bytes] = deque()
        self._lines: deque[bytes] = deque()
        """The whole lines of the piece before; the first one ends what is unfinished."""
        self._rest = b""
        """What follows them."""
        self._closed = False
        self._begun = bytearray()
        """An unfinished line; a list of small pieces would cost more memory than they hold."""
        self._head: bytes | None = None
        """The beginning of a line that is too long, while it is unfinished."""
        self._tail = b""

    @property
    def has_line(self) -> bool:
        """Whether `pass_on` has something to do."""
        return bool(self._lines or self._pieces) or (self._closed and self._unfinished)

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if data:
            self._pieces.append(data)

    def close(self) -> None:
        """Take note that no piece follows: the last line may lack its end."""
        self._closed = True

    def pass_on(self) -> bool:
        """Pass on the next line if it is whole, and return whether there is more to do.

        It is consumed even if the receiver raises.
        """
        lines, pieces = self._lines, self._pieces
        while not lines and pieces:
            if self._rest:
                self._add(self._rest)
            *whole, self._rest = pieces.popleft().split(b"\n")
            lines.extend(whole)
        if lines:
            line = lines.popleft()
            if self._begun or self._head is not None or len(line) > MAX_LINE:
                self._end(line)
            else:
                self._line(line.removesuffix(b"\r"))
        elif self._closed and self._unfinished:
            rest, self._rest = self._rest, b""
            self._end(rest)
        return bool(lines or pieces) or (self._closed and self._unfinished)

    @property
    def _unfinished(self) -> bool:
        return bool(self._begun or self._rest) or self._head is not None

    def _add(self, piece: bytes) -> None:
        if self._head is not None:
            self._tail = (self._tail + piece[-EDGE:])[-EDGE:]
            return
        self._begun += piece
        message = self._messages and self._begun.startswith(b"{")
        if len(self._begun) > (MAX_FRAME if message else MAX_LINE):
            self._head, self._tail = bytes(self._begun[:MAX_LINE]), bytes(self._begun[-EDGE:])
            self._begun = bytearray()

    def _end(self, piece: bytes) -> None:
        if self._begun or self._head is not None or len(piece) > MAX_LINE:
            self._add(piece)
            piece, self._begun = bytes(self._begun), bytearray()
        if self._head is None:
            self._line(piece.removesuffix(b"\r"))
            return
        head, edges = self._head, self._head[:EDGE] + b"\n" + self._tail
        self._head, self._tail = None, b""
        self._cut(head, edges)
