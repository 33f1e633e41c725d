"""Sends every seal to a witness: a program or a server that others keep."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Final

import anyio
import httpx
import msgspec
import structlog

from kernel.public import Backoff, Statements

from . import store
from .seals import SignedSeal

BATCH: Final = 100
"""Seals of one message."""
SECONDS: Final = 10.0
"""That a witness has for a message."""
PAUSE: Final = 15.0
_RETRY: Final = Backoff(first=5.0, longest=600.0)

log = structlog.get_logger("caudex.audit")


class Witness:
    """Sends seals in the order of the chain, none left out, until the witness accepts them.

    What the witness does never holds up the sealing.
    """

    def __init__(self, statements: Statements, target: str) -> None:
        """`target` is a URL or a command."""
        self._statements = statements
        self._target = target
        self._failures = 0

    @property
    def is_failing(self) -> bool:
        """Whether the witness did not accept the last message."""
        return self._failures > 0

    async def run(self) -> float:
        """Send what the witness lacks; return the seconds until the next time."""
        while True:
            number = await store.read_witnessed(self._statements)
            seals = await store.read_seals_from(self._statements, number + 1, BATCH)
            if not seals:
                return PAUSE
            reason = await self._send(make_message(seals))
            if reason:
                self._failures += 1
                pause = _RETRY.pause(self._failures)
                log.warning("the witness has not accepted seals", reason=reason, retry_in=pause)
                return pause
            self._failures = 0
            await store.note_witnessed(self._statements, number + len(seals))

    async def _send(self, message: bytes) -> str:
        """Send one message; return why it was not accepted, or an empty text."""
        is_url = self._target.startswith(("http://", "https://"))
        send = self._post if is_url else self._execute
        with anyio.move_on_after(SECONDS):
            return await send(message)
        return f"no answer within {SECONDS:g} seconds"

    async def _post(self, message: bytes) -> str:
        headers = {"content-type": "application/x-ndjson"}
        try:
            async with (
                httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client,
                client.stream("POST", self._target, content=message, headers=headers) as reply,
            ):
                return "" if reply.is_success else f"status {reply.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__

    async def _execute(self, message: bytes) -> str:
        try:
            # Not a pipe: a program may end before it has read everything.
            with tempfile.TemporaryFile() as lines:
                lines.write(message)
                lines.seek(0)
                process = await anyio.run_process(
                    shlex.split(self._target),
                    stdin=lines,
                    check=False,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        except (OSError, ValueError) as error:
            return str(error)
        return "" if process.returncode == 0 else f"exit status {process.returncode}"


def make_message(seals: Sequence[SignedSeal]) -> bytes:
    """Make the lines that a witness gets, each a JSON object."""
    lines = list[bytes]()
    for seal in seals:
        testimony = {
            "statement": seal.statement,
            "signature": seal.signature,
            "sha256": seal.hash(),
        }
        lines.append(msgspec.json.encode(testimony) + b"\n")
    return b"".join(lines)
