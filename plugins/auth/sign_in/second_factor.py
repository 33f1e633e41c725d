"""The second factor: set up, checked at a login, removed."""

from __future__ import annotations

import structlog
from anyio import to_thread

from kernel.public import (
    Actor,
    BadRequest,
    Event,
    NotFound,
    Statements,
    Transaction,
    Unauthenticated,
    Work,
)

from . import store
from .codes import (
    DIGITS,
    Sealer,
    draw_qr_code,
    find_step,
    hash_recovery_code,
    new_recovery_codes,
    new_secret,
)
from .models import Accepted, FactorState, RecoveryCodes, TotpSecret

log = structlog.get_logger("caudex.auth")


class SecondFactorRequired(Unauthenticated):
    """The password was right, and the account has a second factor."""

    def __init__(self) -> None:
        super().__init__("second factor required")
        self.members = {"secondFactor": True}


class CodeUsed(Unauthenticated):
    """Another login used the code after it was read."""


class SecondFactors:
    """Sets up, checks and removes the second factors of accounts.

    `topic` is that of notifications about accounts: cached tokens know whether there is a factor.
    """

    def __init__(self, statements: Statements, key: bytes, topic: str) -> None:
        self._statements = statements
        self._sealer = Sealer(key)
        self._topic = topic

    async def begin(self, actor: Actor) -> TotpSecret:
        """Make a secret for the caller; it is asked for once it is confirmed. Raises BadRequest."""
        user_id = actor.user_id or ""
        secret, uri = new_secret(actor.username)
        sealed = self._sealer.seal(secret, user_id)
        is_stored = await self._statements.run(
            actor, lambda tx: store.put_secret(tx, user_id, sealed)
        )
        if not is_stored:
            raise BadRequest("a second factor is set up: remove it first")
        qr = await to_thread.run_sync(draw_qr_code, uri)
        return TotpSecret(secret=secret, uri=uri, qr=qr)

    async def confirm(self, actor: Actor, code: str) -> RecoveryCodes:
        """Finish the setup by a first code, which is used by that. Raises BadRequest."""
        user_id = actor.user_id or ""
        factor = await store.read_factor(self._statements, user_id)
        if factor is None or factor.confirmed:
            raise BadRequest("there is no second factor to confirm: begin with POST /auth/totp")
        secret = self._sealer.open(factor.sealed, user_id)
        step = None
        if secret is not None:
            step = find_step(secret, code, factor.last_step)
        if step is None:
            raise BadRequest("the code is wrong")

        recovery_codes = new_recovery_codes()
        hashes = [hash_recovery_code(recovery_code) for recovery_code in recovery_codes]

        async def write(tx: Transaction) -> None:
            if not await store.confirm_factor(tx, user_id, factor.sealed, step, hashes):
                raise BadRequest("the second factor was changed at the same moment")
            await self._announce(tx, "SECOND_FACTOR_ADDED", actor, user_id)

        await self._statements.run(actor, write)
        return RecoveryCodes(recovery_codes=recovery_codes)

    async def show(self, user_id: str) -> FactorState:
        """Return whether an account has a second factor, and its recovery codes."""
        count = await store.count_recovery_codes(self._statements, user_id)
        return FactorState(enabled=await self.is_set_up(user_id), recovery_codes=count)

    async def renew_codes(self, actor: Actor, use_code: Work[None] | None) -> RecoveryCodes:
        """Replace the caller's recovery codes. Raises NotFound, and what `use_code` raises."""
        user_id = actor.user_id or ""
        recovery_codes = new_recovery_codes()
        hashes = [hash_recovery_code(recovery_code) for recovery_code in recovery_codes]
        if use_code is None:
            raise NotFound("no second factor is set up")

        async def write(tx: Transaction) -> None:
            # First: two that both replace the codes do so one after the other.
            if not await store.lock_factor(tx, user_id):
                raise NotFound("no second factor is set up")
            await use_code(tx)
            await store.replace_recovery_codes(tx, user_id, hashes)
            await self._announce(tx, "RECOVERY_CODES_RENEWED", actor, user_id)

        await self._statements.run(actor, write)
        return RecoveryCodes(recovery_codes=recovery_codes)

    async def remove(self, actor: Actor, user_id: str) -> None:
        """Remove the second factor of an account, with its recovery codes. Raises NotFound."""

        async def write(tx: Transaction) -> None:
            if not await store.delete_factor(tx, user_id):
                raise NotFound("no second factor is set up")
            await self._announce(tx, "SECOND_FACTOR_REMOVED", actor, user_id)

        await self._statements.run(actor, write)

    async def is_set_up(self, user_id: str) -> bool:
        """Whether an account has a second factor."""
        factor = await store.read_factor(self._statements, user_id)
        return factor is not None and factor.confirmed

    async def check(self, user_id: str, code: str) -> Accepted | None:
        """Return what `use` needs to use a code up; None for one that is wrong or was used."""
        code = code.strip()
        if not DIGITS.fullmatch(code):
            code_hash = hash_recovery_code(code)
            is_valid = await store.has_recovery_code(self._statements, user_id, code_hash)
            if not is_valid:
                return None
            return Accepted(code_hash=code_hash)

        factor = await store.read_factor(self._statements, user_id)
        if factor is None:
            return None
        secret = self._sealer.open(factor.sealed, user_id)
        if secret is None:
            log.error("a second factor was sealed with another signing key", user_id=user_id)
            return None
        step = find_step(secret, code, factor.last_step)
        if step is None:
            return None
        return Accepted(step=step)

    async def use(self, tx: Transaction, user_id: str, accepted: Accepted) -> None:
        """Use a code up in the transaction of its login. Raises CodeUsed."""
        if accepted.step:
            was_unused = await store.use_step(tx, user_id, accepted.step)
        else:
            was_unused = await store.use_recovery_code(tx, user_id, accepted.code_hash)
            await self._announce(tx, "RECOVERY_CODE_USED", tx.actor, user_id)
        if not was_unused:
            raise CodeUsed("invalid credentials")

    async def _announce(self, tx: Transaction, operation: str, actor: Actor, user_id: str) -> None:
        """Publish and record a change of a second factor."""
        await tx.publish(self._topic, f"user:{user_id}")
        values = {"address": actor.address}
        await tx.record(Event.core("users", operation, actor, user_id, new=values))
