"""Operations on records that the server has not answered yet."""

from __future__ import annotations

import asyncio
from typing import Any

from .errors import CollectionError, Unavailable
from .wire import Wire


class Operations:
    """Operations on records that the server has not answered yet."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._futures: dict[str, asyncio.Future[Any]] = {}
        self._count = 0

    async def ask(
        self, op: str, entity: str, data: dict[str, Any], marks: dict[str, str | None]
    ) -> Any:
        """Send an operation and wait for its result. Raises CollectionError."""
        self._count += 1
        op_id = f"op{self._count}"
        message = {"type": "collection_op", "id": op_id, "op": op, "entity": entity, "data": data}
        message.update({name: value for name, value in marks.items() if value is not None})
        future = self.loop.create_future()
        self._futures[op_id] = future
        try:
            self._wire.send(message, soon=True)
            return await future
        finally:
            self._futures.pop(op_id, None)

    def settle(self, op_id: str, message: dict[str, Any]) -> None:
        """Take the answer to an operation, if a handler waits for it."""
        future = self._futures.pop(op_id, None)
        if future is None or future.done():
            return
        if message.get("error") is None:
            future.set_result(message.get("result"))
            return
        text = str(message["error"])
        effect = message.get("unavailable")
        if effect is None:
            error = CollectionError(text)
        else:
            error = Unavailable(text)
            error.unchanged = effect == "unchanged"
        error.status = message.get("status")
        error.current = message.get("current")
        future.set_exception(error)
