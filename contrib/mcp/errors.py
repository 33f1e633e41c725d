"""Errors of the protocol, by the codes of JSON-RPC and MCP."""

from __future__ import annotations

from typing import Any, Final

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
RESOURCE_NOT_FOUND: Final = -32002
"""Of 2025-11-25; later it is INVALID_PARAMS."""
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022


class RpcError(Exception):
    """A message that is not answered; `status` is that of HTTP."""

    def __init__(
        self,
        code: int,
        message: str,
        status: int = 400,
        *,
        call_id: str | int | None = None,
        data: Any = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.call_id = call_id
        self.data = data

    @property
    def view(self) -> dict[str, Any]:
        """The error as a message."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": self.call_id, "error": error}
