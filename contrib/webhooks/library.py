"""The names of httpcore2 that are used."""

from __future__ import annotations

from kernel.public import BootError

try:
    from httpcore2 import (
        AnyIOBackend,
        AsyncConnectionPool,
        AsyncNetworkBackend,
        AsyncNetworkStream,
        ConnectError,
        NetworkError,
        ProtocolError,
        TimeoutException,
    )
except ImportError as error:
    raise BootError(
        "plugin webhooks", "the package httpcore2 is not installed", "pip install 'httpcore2>=2'"
    ) from error

__all__ = [
    "AnyIOBackend", "AsyncConnectionPool", "AsyncNetworkBackend", "AsyncNetworkStream",
    "ConnectError", "NetworkError", "ProtocolError", "TimeoutException",
]  # fmt: skip
