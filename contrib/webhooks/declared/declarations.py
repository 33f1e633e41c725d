"""The webhooks that manifests declare: checked, stored with an install, begun behind it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import anyio
import msgspec

from contrib.webhooks import store
from contrib.webhooks.adding import add_hook
from contrib.webhooks.config import WebhooksConfig
from contrib.webhooks.deliveries.sender import Sender, is_secret
from contrib.webhooks.models import Declared, Hook
from contrib.webhooks.signing import TOPIC
from kernel.public import (
    APPS,
    CHANGES,
    STATEMENTS,
    App,
    BadRequest,
    Entity,
    NoAddress,
    Services,
    Transaction,
    server_actor,
)

from . import section

CHECK_SECONDS: Final = 2.0
"""How long an install looks up the hosts of its webhooks."""


class Declarations:
    """Keeps the webhooks of an app as its manifest declares them."""

    def __init__(self, config: WebhooksConfig, services: Services, sender: Sender) -> None:
        self._config = config
        self._statements = services.get(STATEMENTS)
        self._apps = services.get(APPS)
        self._changes = services.get(CHANGES)
        self._sender = sender

    async def apply(
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
        await add_hook(tx, hook, self._config.hooks)

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

    async def check(self, app: App, declared: Sequence[Declared]) -> None:
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
            work = partial(self.apply, app_id=app_id, stamp=stamp, declared=section.read(value))
            await self._statements.run(server_actor("webhooks"), work)


def _list_fields(entity: Entity) -> set[str]:
    return {"id", "created_at", "updated_at", *(field.name for field in entity.fields)}
