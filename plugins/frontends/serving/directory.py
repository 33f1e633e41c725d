"""Which apps have a frontend, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kernel.public import Apps, InvalidatedCache, Notifications, ServiceKey
from plugins.frontends.models import Former, Service
from plugins.frontends.policy import KEY, Policy
from plugins.frontends.store import TOPIC, FrontendsStore


class Frontend(msgspec.Struct, frozen=True, kw_only=True):
    """The frontend of an app as it is served. `policy` is its content security policy.

    One that is not `public` is for who has a role on the app.
    """

    app_id: str
    key: int
    bundle: str
    former: tuple[Former, ...]
    policy: bytes
    public: bool = True


class Directory:
    """All frontends. They are read together, so that an unknown host costs no statement.

    A notification empties it. The next request waits for what is in service then.
    """

    def __init__(
        self, store: FrontendsStore, apps: Apps, notifications: Notifications, policy: Policy
    ) -> None:
        self._store = store
        self._apps = apps
        self._policy = policy
        self._frontends = InvalidatedCache[str, Mapping[str, Frontend]](
            notifications, TOPIC, size=1, affects=lambda payload, key, value: True
        )

    async def find(self, app_id: str) -> Frontend | None:
        """Return the frontend of an app; None where it has none."""
        return (await self.read()).get(app_id)

    async def read(self) -> Mapping[str, Frontend]:
        """Return all frontends, by their apps."""
        frontends = self._frontends.get(TOPIC)
        if frontends is not None:
            return frontends
        return await self._frontends.get_or_load(TOPIC, self._load)

    async def refresh(self) -> None:
        """Forget what is in memory, as a notification does."""
        await self._frontends.invalidate()

    async def _load(self) -> Mapping[str, Frontend]:
        services = await self._store.read_services()
        sections = dict[str, Any]()
        if services:
            sections = {section.app_id: section.value for section in await self._apps.sections(KEY)}
        return {
            service.app_id: self._make(service, sections.get(service.app_id))
            for service in services
        }

    def _make(self, service: Service, section: Mapping[str, Any] | None) -> Frontend:
        return Frontend(
            app_id=service.app_id,
            key=service.key,
            bundle=service.bundle,
            former=service.former,
            policy=self._policy.make_header(section),
            public=(section or {}).get("public", True),
        )


DIRECTORY = ServiceKey[Directory]("frontends_directory")
