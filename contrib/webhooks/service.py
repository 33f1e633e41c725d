"""The rules of webhooks: who is notified of what, and what users do with deliveries."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio
import msgspec

from kernel.public import (
    APPS,
    CHANGES,
    STATEMENTS,
    Actor,
    App,
    BadRequest,
    ConcurrencyLimiter,
    Entity,
    Event,
    NoAddress,
    NotFound,
    ServiceKey,
    Services,
    Transaction,
    server_actor,
)

from . import section, store
from .config import WebhooksConfig
from .deliveries import store as queue
from .deliveries.sender import Sender, is_secret
from .events import EventMaker
from .models import (
    EVENTS,
    CreatedHook,
    Declared,
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
CHECK_SECONDS: Final = 2.0
"""How long an install looks up the hosts of its webhooks."""
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
            await self._insert(tx, hook)
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
                raise _name_taken(hook.name)
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

    # Manifests

    async def declare(
        self, tx: Transaction, app_id: str, stamp: int, declared: Sequence[Declared]
    ) -> None:
        """Store the webhooks of a manifest, unless a later stamp is stored already.

        Raises BadRequest for the name of a webhook that REST has made, and a wrong address.
        """
        if not await store.store_stamp(tx, app_id, stamp):
            return
        present = {hook.name: hook for hook in await store.lock_all(tx, app_id)}
        names = {hook.name for hook in declared}
        for hook in present.values():
            if hook.declared and hook.name not in names:
                await store.delete(tx, hook.id)
        for number, new in enumerate(declared):
            hook = present.get(new.name)
            if hook is not None and not hook.declared:
                place = f"webhooks[{number}].name"
                raise BadRequest(f"{place}: the app has a webhook {new.name!r} already")
            await self._store_declared(tx, app_id, new, hook)
        await tx.publish(TOPIC)
        tx.after_commit(lambda: self._begin_behind(app_id))

    async def _store_declared(
        self, tx: Transaction, app_id: str, new: Declared, before: Hook | None
    ) -> None:
        values = msgspec.structs.asdict(new)
        if before is not None:
            await store.update(tx, msgspec.structs.replace(before, **values))
            return
        hook = Hook(
            id=str(uuid.uuid4()),
            app_id=app_id,
            enabled=True,
            declared=True,
            is_failing=False,
            position=None,
            begins=None,
            **values,
        )
        await self._insert(tx, hook)

    async def _begin_behind(self, app_id: str) -> None:
        """Let the webhooks of an app begin behind its install, before which there is no trail.

        Those that have a position keep it, unless nothing can be read from there.
        """
        now = await self._changes.now()
        for hook in await store.list_of_app(self._statements, app_id):
            subject = f"{app_id}.{hook.entity}"
            position = hook.position
            if position is not None:
                page = await self._changes.read(position, [subject], 1, reshape=True)
                if page.lost is None:
                    continue
            await store.begin(self._statements, hook.id, now)

    async def check_declared(self, app: App, declared: Sequence[Declared]) -> None:
        """Refuse what a manifest must not declare. Raises BadRequest.

        An address that cannot be looked up now is checked when something is sent.
        """
        for number, hook in enumerate(declared):
            place = f"webhooks[{number}]"
            entity = app.entities.get(hook.entity)
            if entity is None:
                raise BadRequest(f"{place}.entity: the app has no entity {hook.entity!r}")
            unknown = set(hook.fields or ()) - _list_fields(entity)
            if unknown:
                raise BadRequest(f"{place}.fields: {hook.entity} has no field {min(unknown)!r}")
        with anyio.move_on_after(CHECK_SECONDS):
            for number, hook in enumerate(declared):
                await self._check_address(f"webhooks[{number}]", hook.url)

    async def _check_address(self, place: str, url: str) -> None:
        if is_secret(url):
            return
        try:
            await self._sender.check(url)
        except NoAddress:
            return
        except BadRequest as error:
            raise BadRequest(f"{place}.{error.message}") from None

    async def catch_up(self) -> None:
        """Store what was installed and updated while the plugin was disabled."""
        stored_stamps = await store.list_stamps(self._statements)
        # First the apps: a section that is stored in between has the later stamp, and wins.
        installed: dict[str, tuple[int, Any]] = {
            app.id: (app.version_stamp, None) for app in await self._apps.all()
        }
        for stored in await self._apps.sections(section.KEY):
            installed[stored.app_id] = (stored.version_stamp, stored.value)
        for app_id, (stamp, value) in installed.items():
            stored_stamp = stored_stamps.get(app_id)
            if stored_stamp is None and not value:
                continue  # an app that never had webhooks has nothing to store
            if stored_stamp is not None and stored_stamp >= stamp:
                continue
            work = partial(self.declare, app_id=app_id, stamp=stamp, declared=section.read(value))
            await self._statements.run(server_actor("webhooks"), work)

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

    async def _insert(self, tx: Transaction, hook: Hook) -> None:
        if not await store.lock_app(tx, hook.app_id):
            raise NotFound(f"app '{hook.app_id[:80]}' not found")
        limit = self._config.hooks
        if await store.count(tx, hook.app_id) >= limit:
            raise BadRequest(f"an app has at most {limit} webhooks")
        if not await store.insert(tx, hook):
            raise _name_taken(hook.name)
        await tx.publish(TOPIC, hook.id)

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


def _list_fields(entity: Entity) -> set[str]:
    return {"id", "created_at", "updated_at", *(field.name for field in entity.fields)}


def _order(events: Sequence[str]) -> list[Any]:
    return sorted(set(events), key=list[str](EVENTS).index)


def _check_id(hook_id: str) -> str:
    try:
        return str(uuid.UUID(hook_id))
    except ValueError:
        raise _not_found(hook_id) from None


def _not_found(hook_id: str) -> NotFound:
    return NotFound(f"webhook '{hook_id[:80]}' not found")


def _name_taken(name: str) -> BadRequest:
    return BadRequest(f"the app has a webhook {name!r} already")


def _event(actor: Actor, operation: str, hook: Hook, **detail: Any) -> Event:
    about: Mapping[str, Any] = {"app": hook.app_id, "webhook": hook.name, **detail}
    return Event.core("webhooks", operation, actor, f"{hook.app_id}/{hook.name}", new=about)


SERVICE = ServiceKey[WebhooksService]("webhooks")
