"""From the bytes of a request to a call, by the rules of both versions of the protocol."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from contrib.mcp.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    RpcError,
)
from contrib.mcp.models import LEGACY, MODERN, SUPPORTED, Call, Json
from kernel.public import BadRequest, decode

VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT: Final = "io.modelcontextprotocol/clientInfo"
NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The member of `params` that the header `Mcp-Name` repeats, by the method."""
MAX_CLIENT: Final = 64
"""Characters of the name of a client."""
_ANY: Final = msgspec.json.Decoder(Any)
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


def read_call(body: bytes, headers: Mapping[str, str]) -> Call:
    """Read a message and the version that it is of. Raises RpcError."""
    message = _read_message(body)
    call_id: str | int | None = message.get("id")
    params: Any = message.get("params")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "params must be an object", call_id=call_id)
    members = cast("Json", params)
    method: str = message["method"]
    meta: Any = members.get("_meta")
    version = headers.get("mcp-protocol-version")
    names_version = isinstance(meta, dict) and VERSION in meta
    if names_version or (version == MODERN and method != "initialize"):
        if "id" in message:
            _check_modern(message, meta, headers)
        era = MODERN
        client = _name_of(cast("Json", meta).get(CLIENT)) if isinstance(meta, dict) else ""
    else:
        if version is not None and version not in SUPPORTED:
            raise _unsupported(call_id, version)
        era = LEGACY
        client = _name_of(members.get("clientInfo"))
    if not client:
        client = clean_name(headers.get("user-agent", "").partition(" ")[0].partition("/")[0])
    return Call(method=method, params=members, id=call_id, era=era, client=client)


def _read_message(body: bytes) -> Json:
    """Return a message that is a request or a notification. Raises RpcError."""
    try:
        message: Any = decode(body, _ANY, "the message")
    except BadRequest as error:
        raise RpcError(PARSE_ERROR, error.message) from None
    if isinstance(message, list):
        raise RpcError(INVALID_REQUEST, "send one message, not an array of them")
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "a message must be an object")
    members = cast("Json", message)
    call_id: Any = members.get("id")
    has_id = isinstance(call_id, str | int) and not isinstance(call_id, bool)
    if "id" in members and not has_id:
        raise RpcError(INVALID_REQUEST, "id must be a text or a whole number")
    if members.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'jsonrpc must be "2.0"', call_id=call_id)
    if not isinstance(members.get("method"), str):
        raise RpcError(INVALID_REQUEST, "a message needs a method", call_id=call_id)
    return members


def _check_modern(message: Json, meta: Any, headers: Mapping[str, str]) -> None:
    """Check what each request says of itself, and that its headers say the same."""
    call_id = message["id"]
    if not isinstance(meta, dict):
        raise RpcError(INVALID_PARAMS, "params._meta must be an object", call_id=call_id)
    members = cast("Json", meta)
    for name in (VERSION, CAPABILITIES):
        if name not in members:
            raise RpcError(INVALID_PARAMS, f"params._meta needs {name}", call_id=call_id)
    version = members[VERSION]
    if not isinstance(version, str):
        raise RpcError(INVALID_PARAMS, f"{VERSION} must be a text", call_id=call_id)
    method: str = message["method"]
    expected = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    if method in NAMED_BY:
        name = message["params"].get(NAMED_BY[method])
        if isinstance(name, str):
            expected["Mcp-Name"] = name
    for header, value in expected.items():
        if _decode_header(headers.get(header.lower())) != value:
            problem = f"the header {header} must say what the message says"
            raise RpcError(HEADER_MISMATCH, problem, call_id=call_id)
    if version != MODERN:
        raise _unsupported(call_id, version)


def _unsupported(call_id: str | int | None, version: str) -> RpcError:
    data = {"supported": list(SUPPORTED), "requested": version[:100]}
    message = "this version of the protocol is not supported"
    return RpcError(UNSUPPORTED_VERSION, message, call_id=call_id, data=data)


def _decode_header(value: str | None) -> str | None:
    """Return the text of a header; one that is not plain ASCII is in base64."""
    if value is None:
        return None
    value = value.strip(" \t")  # white space around a value is no part of it (RFC 9110, 5.5)
    match = _ENCODED.fullmatch(value)
    if match is None:
        return value
    try:
        return base64.b64decode(match[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def _name_of(client: Any) -> str:
    """Return the name of a client from what it says of itself, or an empty text."""
    if not isinstance(client, dict):
        return ""
    name: Any = cast("Json", client).get("name")
    return clean_name(name) if isinstance(name, str) else ""


def clean_name(name: str) -> str:
    """Return the printable characters of a name."""
    printable = "".join(character for character in name[:200] if character.isprintable())
    return printable.strip()[:MAX_CLIENT]
