"""The evidence of one server: its key, and the objects that use it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anyio.to_thread
import structlog
from nacl.signing import SigningKey

from kernel.public import BootError, Keyring, ServiceKey, Statements, Unavailable, server_key

from .proofs.exporter import Exporter
from .sealer import Sealer
from .seals import Signer
from .verifier import Verifier

KEY_NAME: Final = "evidence"

log = structlog.get_logger("caudex.audit")


class Evidence:
    """Seals, verifies and exports the trail of a server.

    Without its key a server goes on: it serves, but does not seal.
    """

    def __init__(self, statements: Statements, signer: Signer | None, keys: list[str]) -> None:
        """`keys` are the public keys that seals of this server may be signed by."""
        self.exporter = Exporter(statements)
        self.sealer = None if signer is None else Sealer(statements, signer)
        self._statements = statements
        self._keys = keys

    def verifier(self, *keys: str) -> Verifier:
        """Return what verifies the trail; further public keys are those of former times.

        Raises Unavailable where no key is known.
        """
        known_keys = [*self._keys, *keys]
        if not known_keys:
            problem = "the key of the evidence is missing on this server"
            raise Unavailable(f"{problem}: `caudex doctor` says which", retry_after=None)
        return Verifier(self._statements, known_keys)


EVIDENCE: Final = ServiceKey[Evidence]("evidence")


async def open_evidence(
    statements: Statements, configured: str, data_dir: Path, *, seals: bool
) -> Evidence:
    """Read the key, which the first server of a database makes."""
    keys = list[str]()
    signer: Signer | None = None
    try:
        seed = await server_key(statements, KEY_NAME, configured, data_dir)
        ring = await anyio.to_thread.run_sync(Keyring(KEY_NAME, data_dir, configured).read)
        signer = Signer(seed)
        others = [SigningKey(key).verify_key.encode().hex() for key in ring.known.values()]
        keys = list(dict.fromkeys([signer.public, *others]))
    except BootError as error:
        log.error("the trail is not sealed by this server", error=str(error))
    return Evidence(statements, signer if seals else None, keys)
