"""A process that writes a blob and never ends it: the kit of STORAGE kills it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import anyio

from kernel.contracts.files.storage import STORAGE, Storage
from kernel.testing import running_server

MB = 2**20


def main() -> None:
    """Write 9 MB, report that, and wait."""
    options = json.load(sys.stdin)
    with running_server(
        cast("Any", None),  # with a database none is made
        options["config"],
        dsn=options["dsn"],
        data_dir=Path(options["data_dir"]),
    ) as server:
        server.run(_write, server.services.get(STORAGE))


async def _write(storage: Storage) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield bytes(MB)
        sys.__stdout__.write("9 MB are written\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]
        await anyio.sleep_forever()

    await storage.write_blob(pieces(), 100 * MB)


if __name__ == "__main__":
    main()
