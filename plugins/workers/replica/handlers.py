"""What a worker declares of its handlers, for forms. Nothing that it says is trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

MAX_HANDLERS: Final = 200
MAX_NAME: Final = 200
MAX_TEXT: Final = 500
MAX_SCHEMA: Final = 8_000
"""Bytes of the JSON Schema of one handler's parameters."""
MAX_SCHEMAS: Final = 100_000
"""Bytes of all of them: further ones are left out."""


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """A handler of calls or jobs. The one of jobs without a name takes those of any other type.

    `params` is the JSON Schema of an object, or null where the worker declares none.
    """

    name: str
    text: str
    params: dict[str, Any] | None


class Handlers(msgspec.Struct, frozen=True, kw_only=True):
    """The handlers of a worker. They are empty while it does not run here."""

    running: bool
    calls: list[Handler]
    jobs: list[Handler]


class _Declared(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["rpc", "job"]
    name: str
    text: str = ""
    params: dict[str, Any] | None = None


NOT_RUNNING: Final = Handlers(running=False, calls=[], jobs=[])

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[_Declared]).decode
_decode_names: Final = msgspec.json.Decoder(list[str]).decode


def read_handlers(declared: bytes, methods: bytes) -> Handlers:
    """Read what a worker says of its handlers; of one that says nothing, the names of its methods.

    What is not as it should be, or too much, is left out: a form is no reason to refuse a worker.
    """
    try:
        handlers = _decode(declared)
    except (msgspec.MsgspecError, RecursionError):
        handlers = _read_names(methods)
    bounded = list(_bound(handlers))
    return Handlers(
        running=True,
        calls=[handler for kind, handler in bounded if kind == "rpc"],
        jobs=[handler for kind, handler in bounded if kind == "job"],
    )


def _read_names(methods: bytes) -> list[_Declared]:
    try:
        return [_Declared(kind="rpc", name=name) for name in _decode_names(methods)]
    except (msgspec.MsgspecError, RecursionError):
        return []


def _bound(handlers: Iterable[_Declared]) -> Iterable[tuple[str, Handler]]:
    count = 0
    size = 0
    for handler in handlers:
        is_named = bool(handler.name) or handler.kind == "job"
        if not is_named or len(handler.name) > MAX_NAME or count == MAX_HANDLERS:
            continue
        count += 1
        params = handler.params
        if params is not None:
            schema_size = len(_encode(params))
            is_form = isinstance(params.get("properties"), dict)
            if not is_form or schema_size > MAX_SCHEMA or size + schema_size > MAX_SCHEMAS:
                params = None
            else:
                size += schema_size
        yield handler.kind, Handler(name=handler.name, text=handler.text[:MAX_TEXT], params=params)
