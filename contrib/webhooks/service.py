"""The rules of webhooks that users make, and what users do with deliveries."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import (
    APPS,
    CHANGES,
    STATEMENTS,
    Actor,
    BadRequest,
    ConcurrencyLimiter,
    Event,
    NotFound,
    ServiceKey,
    Services,
    Transaction,
)

from . import store
from .adding import add_hook, name_taken
from .config import WebhooksConfig
from .declared import section
from .declared.declarations import Declarations
from .deliveries import store as queue
from .deliveries.sender import Sender
from .events import EventMaker
from .models import (
    EVENTS,
    CreatedHook,
    DeliveryQuery,
    Hook,
    HookChanges,
    NewHook,
    Outcome,
    Secret,
    Tested,
)
from .replays import find_events
from .signing import TOPIC, Broken, Endpoints

TEST_BODY: Final = b'{"type":"test"}'
ALL_TESTS: Final = 16
TOO_MANY_TESTS: Final = "too many tests at the same moment"


class WebhooksService:
    """Stores webhooks, tests them, and sends again what was sent."""

    def __init__(
        self, config: WebhooksConfig, services: Services, endpoints: Endpoints, sender: Sender
    ) -> None:
        self._config = config
        self._statements = services.get(STATEMENTS)
        self._apps = services.get(APPS)
        self._changes = services.get(CHANGES)
        self._events = EventMaker(services)
        self._endpoints = endpoints
        self._sender = sender
        self.declarations = Declarations(config, services, sender)
        self._tests = ConcurrencyLimiter(ALL_TESTS, message=TOO_MANY_TESTS, retry_after=5)

    # Webhooks

    async def list(self, app_id: str) -> bytes:
        """Return the webhooks of an app as a JSON array, by name."""
        await self._apps.app(app_id)
        return await store.list_shown(self._statements, app_id)

    async def get(self, app_id: str, hook_id: str) -> bytes:
        """Return a webhook as JSON. Raises NotFound."""
        shown = await store.show(self._statements, app_id, _check_id(hook_id))
        if shown is None:
            raise _not_found(hook_id)
        return shown

    async def create(self, actor: Actor, app_id: str, new: NewHook) -> bytes:
        """Make a webhook, and return it as JSON with its secret. Raises BadRequest."""
        await self._apps.app(app_id)
        hook = Hook(
            id=str(uuid.uuid4()),
            app_id=app_id,
            name=new.name,
            url=new.url,
            entity=new.entity,
            on=_order(new.on),
            where=new.where,
            fields=new.fields,
            role=new.role,
            enabled=new.enabled,
            declared=False,
            is_failing=False,
            position=await self._changes.now(),
            begins=None,
        )
        await self._check(hook)
        key, secret = await self._endpoints.make_secret(app_id, hook.id, hook.name)

        async def work(tx: Transaction) -> None:
            await add_hook(tx, hook, self._config.hooks)
            await self._endpoints.use(tx, app_id, hook.id, key)
            await tx.record(_event(actor, "WEBHOOK_CREATED", hook, entity=hook.entity))

        await self._statements.run(actor, work)
        shown = msgspec.json.decode(await self.get(app_id, hook.id))
        return msgspec.json.encode(msgspec.convert({**shown, "secret": secret}, CreatedHook))

    async def change(self, actor: Actor, app_id: str, hook_id: str, changes: HookChanges) -> bytes:
        """Change a webhook and return it as JSON. Raises NotFound, BadRequest."""
        values = _read_changes(changes)
        before = await self._find(app_id, hook_id)
        if before.declared and values.keys() - {"enabled"}:
            raise BadRequest("the manifest declares this webhook: only `enabled` can be changed")
        if values.keys() - {"name"}:
            await self._check(msgspec.structs.replace(before, **values))

        async def work(tx: Transaction) -> None:
            locked = await self._lock(tx, app_id, hook_id)
            hook = msgspec.structs.replace(locked, **values)
            if await store.is_name_taken(tx, hook):
                raise name_taken(hook.name)
            await store.update(tx, hook)
            if hook.enabled:
                await queue.wake(tx, hook.id)
            await tx.record(_event(actor, "WEBHOOK_CHANGED", hook, changed=sorted(values)))
            await tx.publish(TOPIC, hook.id)

        await self._statements.run(actor, work)
        return await self.get(app_id, hook_id)

    async def delete(self, actor: Actor, app_id: str, hook_id: str) -> None:
        """Delete a webhook with its deliveries. Raises NotFound, BadRequest."""

        async def work(tx: Transaction) -> None:
            hook = await self._lock(tx, app_id, _check_id(hook_id))
            if hook.declared:
                raise BadRequest("the manifest declares this webhook: remove it there")
            await store.delete(tx, hook.id)
            await tx.record(_event(actor, "WEBHOOK_DELETED", hook))
            await tx.publish(TOPIC, hook.id)

        await self._statements.run(actor, work)

    async def rotate(self, actor: Actor, app_id: str, hook_id: str) -> Secret:
        """Make a new secret; the former one signs beside it for a day. Raises NotFound."""
        hook = await self._find(app_id, hook_id)
        key, secret = await self._endpoints.make_secret(app_id, hook.id, hook.name)

        async def work(tx: Transaction) -> None:
            locked = await self._lock(tx, app_id, hook_id)
            await self._endpoints.use(tx, app_id, locked.id, key)
            await tx.record(_event(actor, "WEBHOOK_ROTATED", locked))

        await self._statements.run(actor, work)
        return Secret(secret)

    async def test(self, app_id: str, hook_id: str) -> Tested:
        """Send a test, and return how the receiver answered. Raises NotFound, Unavailable."""
        hook = await self._find(app_id, hook_id)
        async with self._tests.hold():
            outcome = await self._send_test(hook)
        if outcome.status is None:
            return Tested(status=None, ms=outcome.ms, error=outcome.error)
        return Tested(status=outcome.status, ms=outcome.ms, body=outcome.body)

    async def _send_test(self, hook: Hook) -> Outcome:
        try:
            endpoint = await self._endpoints.find(hook)
        except Broken as error:
            return Outcome(status=None, error=str(error))
        headers = endpoint.sign(f"msg_test_{uuid.uuid4().hex}", TEST_BODY)
        return await self._sender.post(endpoint.url, headers, TEST_BODY)

    # Deliveries

    async def deliveries(self, app_id: str, hook_id: str, query: DeliveryQuery) -> bytes:
        """Return a page of deliveries as JSON, the newest first. Raises NotFound."""
        hook = await self._find(app_id, hook_id)
        page = (query.state, query.before, query.limit)
        return await queue.list_deliveries(self._statements, hook.id, *page)

    async def retry(self, actor: Actor, app_id: str, hook_id: str, delivery_id: str) -> bytes:
        """Send a delivery now and return it as JSON; one that ended begins again.

        Raises NotFound.
        """

        async def work(tx: Transaction) -> bytes:
            hook = await self._lock(tx, app_id, _check_id(hook_id))
            await queue.retry(tx, hook.id, delivery_id)
            shown = await queue.show_delivery(tx, hook.id, delivery_id)
            if shown is None:
                raise NotFound(f"delivery '{delivery_id[:80]}' not found")
            await tx.publish(TOPIC, hook.id)
            return shown

        return await self._statements.run(actor, work)

    async def replay(self, actor: Actor, app_id: str, hook_id: str, since: str) -> int:
        """Queue what happened since a position or a time once more, and return the number.

        Raises NotFound, and BadRequest for too much, or a time that the trail does not reach.
        """
        hook = await self._find(app_id, hook_id)
        events = await find_events(self._changes, self._events, hook, since)

        async def work(tx: Transaction) -> None:
            locked = await self._lock(tx, app_id, hook_id)
            await queue.requeue(tx, events)
            await queue.wake(tx, locked.id)
            await tx.record(_event(actor, "WEBHOOK_REPLAYED", locked, deliveries=len(events)))
            await tx.publish(TOPIC, locked.id)

        await self._statements.run(actor, work)
        return len(events)

    async def sweep(self) -> float:
        """Delete old deliveries and secrets; return the seconds until the next time."""
        await self._endpoints.sweep()
        count = await queue.sweep(self._statements, self._config.keep)
        return 1.0 if count else 600.0

    # Parts of the above

    async def _check(self, hook: Hook) -> None:
        """Refuse what a webhook cannot do. Raises BadRequest."""
        section.check_url(hook.url)
        await self._events.open(hook)
        try:
            url = await self._endpoints.reveal_url(hook.app_id, hook.url)
        except Broken as error:
            raise BadRequest(f"url: {error}") from None
        await self._sender.check(url)

    async def _find(self, app_id: str, hook_id: str) -> Hook:
        hook = await store.find(self._statements, app_id, _check_id(hook_id))
        if hook is None:
            raise _not_found(hook_id)
        return hook

    async def _lock(self, tx: Transaction, app_id: str, hook_id: str) -> Hook:
        hook = await store.lock(tx, app_id, hook_id)
        if hook is None:
            raise _not_found(hook_id)
        return hook


def _read_changes(changes: HookChanges) -> dict[str, Any]:
    """Return the values that a body names, by their attribute. Raises BadRequest for a null."""
    values = {
        name: value
        for name, value in msgspec.structs.asdict(changes).items()
        if value is not msgspec.UNSET
    }
    if "on" in values:
        values["on"] = _order(values["on"])
    return values


def _order(events: Sequence[str]) -> list[Any]:
    return sorted(set(events), key=list[str](EVENTS).index)


def _check_id(hook_id: str) -> str:
    try:
        return str(uuid.UUID(hook_id))
    except ValueError:
        raise _not_found(hook_id) from None


def _not_found(hook_id: str) -> NotFound:
    return NotFound(f"webhook '{hook_id[:80]}' not found")


def _event(actor: Actor, operation: str, hook: Hook, **detail: Any) -> Event:
    about: Mapping[str, Any] = {"app": hook.app_id, "webhook": hook.name, **detail}
    return Event.core("webhooks", operation, actor, f"{hook.app_id}/{hook.name}", new=about)


SERVICE = ServiceKey[WebhooksService]("webhooks")
