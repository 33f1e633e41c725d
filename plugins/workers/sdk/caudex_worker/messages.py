"""Messages as JSON, one a line."""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from collections.abc import Callable
from typing import Any

MAX_FRAME = 10 * 1024 * 1024
"""Bytes of a message."""
MAX_TEXT = MAX_FRAME // 16
"""Characters of a line of the log, or of an error."""


def parse_lines(lines: bytes, parse_int: Any = None) -> list[dict[str, Any]]:
    """Read lines as one array, which takes less time than one after the other."""
    try:
        messages = json.loads("[" + lines.decode().replace("\n", ",") + "]", parse_int=parse_int)
    except ValueError:
        pass  # one of them is no JSON, or has a number that `int` refuses
    else:
        return [message for message in messages if isinstance(message, dict)]
    single = lines.split(b"\n")
    if len(single) > 1:
        return [message for line in single for message in parse_lines(line)]
    if parse_int is None:
        return parse_lines(lines, _parse_long)
    return []


def _parse_long(digits: str) -> float:
    """Read a number that is too long for `int` as 1e999 is read. It must not lose other jobs."""
    return int(digits) if len(digits) < 4300 else float(digits)


def _to_json(value: object) -> object:
    """Write the usual types of a database as JSON has them."""
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)  # type: ignore[reportUnknownArgumentType,reportUnknownVariableType]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _make_encoder() -> Callable[[object], str]:
    """Return what writes JSON. `JSONEncoder` makes an encoder in C for each message."""
    make_c_encoder: Any = getattr(json.encoder, "c_make_encoder", None)
    if make_c_encoder is None:
        return json.JSONEncoder(
            default=_to_json, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ).encode
    write_text = json.encoder.encode_basestring
    # No markers of circles, which end as a RecursionError; no indent; keys neither sorted nor
    # skipped; no NaN.
    encode = make_c_encoder(None, _to_json, write_text, None, ":", ",", False, False, False)
    return lambda message: "".join(encode(message, 0))


encode = _make_encoder()
