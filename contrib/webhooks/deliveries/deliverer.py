"""Delivers the queue of each webhook, in one process of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from contrib.webhooks import store as hooks
from contrib.webhooks.models import Due, Hook, Outcome, Settled
from contrib.webhooks.signing import TOPIC, Broken, Endpoints
from kernel.public import (
    STATEMENTS,
    Backoff,
    Event,
    KernelError,
    Services,
    Transaction,
    failure,
    server_actor,
)

from . import store
from .follower import Follower
from .renewer import Renewer
from .sender import Sender

WAITS: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0)
"""Seconds before the second attempt, the third, and so on. After the last one it has failed."""
CONCURRENT: Final = 8
"""Attempts of one webhook at a time, while its receiver answers."""
CHECK_SECONDS: Final = 30.0
"""A notification may be lost: then a change is noticed after so long."""
SHORTEST_PAUSE: Final = 0.05
GONE: Final = 410

log = structlog.get_logger("caudex.webhooks")
_RETRY = Backoff(first=0.5, longest=30.0)


def settle_outcome(outcome: Outcome, attempts: int) -> Settled:
    """Decide what follows an attempt, the last of so many."""
    if outcome.is_delivered:
        return Settled(state="delivered")
    if outcome.status == GONE:  # it waits until a user enables the webhook
        return Settled(state="pending", wait=0.0, is_gone=True)
    if attempts > len(WAITS):
        return Settled(state="failed")
    return Settled(state="pending", wait=WAITS[attempts - 1])


class Deliverer:
    """Runs the webhooks that are enabled, each beside the others: none waits for another."""

    def __init__(self, services: Services, endpoints: Endpoints, sender: Sender) -> None:
        self._services = services
        self._statements = services.get(STATEMENTS)
        self._endpoints = endpoints
        self._sender = sender
        self._runs: dict[str, _HookRun] = {}
        self._changed = anyio.Event()

    async def on_notification(self, hook_id: str | None) -> None:
        """Look at the webhooks again, and at the queue of the one that is named."""
        self._changed.set()
        for run in list(self._runs.values()):
            if not hook_id or run.hook.id == hook_id:
                run.wake()

    async def run(self) -> None:
        """Follow and deliver until cancelled."""
        self._runs.clear()
        async with anyio.create_task_group() as tasks:
            while True:
                self._changed = anyio.Event()
                try:
                    await self._update_runs(tasks)
                except KernelError as error:  # those that run go on
                    log.warning("the webhooks cannot be read", error=error.message)
                with anyio.move_on_after(CHECK_SECONDS):
                    await self._changed.wait()

    async def _update_runs(self, tasks: TaskGroup) -> None:
        """Start what is new or another than before, and end what is gone."""
        enabled = {hook.id: hook for hook in await hooks.list_enabled(self._statements)}
        for hook_id, run in list(self._runs.items()):
            hook = enabled.get(hook_id)
            if hook is None or not run.is_for(hook):
                run.end()
                del self._runs[hook_id]
        for hook_id, hook in enabled.items():
            if hook_id not in self._runs:
                run = _HookRun(self._services, hook, self._endpoints, self._sender)
                self._runs[hook_id] = run
                tasks.start_soon(run.run)


class _HookRun:
    """Follows the trail for a webhook and sends its queue."""

    def __init__(
        self, services: Services, hook: Hook, endpoints: Endpoints, sender: Sender
    ) -> None:
        self.hook = hook
        self._services = services
        self._statements = services.get(STATEMENTS)
        self._endpoints = endpoints
        self._sender = sender
        self._renewer = Renewer(services, hook)
        self._scope = anyio.CancelScope()
        self._work = anyio.Event()
        self._busy = set[str]()
        """Records whose delivery is on its way."""
        self._is_failing = hook.is_failing

    def is_for(self, hook: Hook) -> bool:
        """Whether a row says what this run was started with."""
        return hook.config == self.hook.config

    def wake(self) -> None:
        """Look at the queue now."""
        self._work.set()

    def end(self) -> None:
        """Cancel what is under way; another run or process sends it again."""
        self._scope.cancel()

    async def run(self) -> None:
        """Follow and send until `end`."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._repeat, self._follow)
                await self._send(tasks)

    async def _follow(self) -> None:
        follower = Follower(self._services, self.hook, self._disable, self.wake)
        await follower.run()
        await anyio.sleep_forever()  # disabled: the deliverer ends this run

    async def _send(self, tasks: TaskGroup) -> None:
        while True:
            await self._repeat(lambda: self._send_next(tasks), once=True)

    async def _send_next(self, tasks: TaskGroup) -> None:
        """Start the next attempt, or wait for one to be due."""
        self._work = anyio.Event()
        limit = 1 if self._is_failing else CONCURRENT
        seconds = CHECK_SECONDS
        if len(self._busy) < limit:
            due = await store.find_due(self._statements, self.hook.id, sorted(self._busy))
            if due is not None and due.basis != await self._renewer.find_basis():
                await self._renewer.renew()
                return
            if due is not None:
                self._busy.add(due.record)
                tasks.start_soon(self._attempt, due)
                return
            seconds = await self._find_pause()
        with anyio.move_on_after(seconds):
            await self._work.wait()

    async def _find_pause(self) -> float:
        """Return the seconds until a delivery is due, CHECK_SECONDS at most."""
        busy = sorted(self._busy)
        seconds = await store.seconds_to_next(self._statements, self.hook.id, busy)
        if seconds is None:
            return CHECK_SECONDS
        return min(max(seconds, SHORTEST_PAUSE), CHECK_SECONDS)

    async def _attempt(self, due: Due) -> None:
        """Send a delivery and store what came of it, again where the database is away."""
        try:
            outcome = await self._post(due)
            if outcome is not None:
                await self._repeat(lambda: self._settle(due, outcome), once=True)
        finally:
            self._busy.discard(due.record)
            self._work.set()

    async def _post(self, due: Due) -> Outcome | None:
        """Return the outcome of an attempt; None where the webhook cannot send."""
        body = due.body.encode()
        try:
            endpoint = await self._endpoints.find(self.hook)
        except Broken as error:
            await self._disable(str(error))
            return None
        except KernelError as error:
            return Outcome(status=None, error=f"the vault does not answer: {error.message}")
        headers = endpoint.sign(due.id, body)
        try:
            return await self._sender.post(endpoint.url, headers, body)
        except Exception as error:  # a mistake of ours must not end the runs of other webhooks
            log.error("an attempt fails", hook=self.hook.id, **failure(error))
            return Outcome(status=None, error="the server failed to send it: see its log")

    async def _settle(self, due: Due, outcome: Outcome) -> None:
        settled = settle_outcome(outcome, due.attempts + 1)
        with anyio.CancelScope(shield=True):
            await store.settle(self._statements, self.hook.id, due, outcome, settled)
            if settled.is_gone:
                await self._disable("its receiver answered 410, which means for good")
        self._is_failing = not outcome.is_delivered

    async def _disable(self, reason: str) -> None:
        await self._statements.run(
            server_actor("webhooks"), lambda tx: self._record_end(tx, reason)
        )

    async def _record_end(self, tx: Transaction, reason: str) -> None:
        if not await hooks.disable(tx, self.hook.id, reason):
            return
        detail = {"app": self.hook.app_id, "webhook": self.hook.name, "reason": reason}
        subject = f"{self.hook.app_id}/{self.hook.name}"
        await tx.record(Event.core("webhooks", "WEBHOOK_ENDED", tx.actor, subject, new=detail))
        await tx.publish(TOPIC, self.hook.id)
        log.warning("a webhook is disabled", **detail)

    async def _repeat(self, work: Callable[[], Awaitable[None]], *, once: bool = False) -> None:
        """Do the work, again after a growing pause where it fails; with `once` until it succeeds.

        What fails here must not end the runs of other webhooks.
        """
        failures = 0
        while True:
            try:
                await work()
                if once:
                    return
                failures = 0
            except (KernelError, OSError) as error:
                failures += 1
                log.warning("a webhook has to wait", hook=self.hook.id, **failure(error))
            except Exception as error:
                failures += 1
                log.error("a webhook fails", hook=self.hook.id, **failure(error))
            await anyio.sleep(_RETRY.pause(failures) if failures else 0)
