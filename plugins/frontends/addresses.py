"""Provides FRONTENDS: which apps have a frontend, and where it is."""

from __future__ import annotations

from collections.abc import Collection

from kernel.contracts.server.routes import Request

from .hosts import Hosts
from .serving.directory import Directory


class Addresses:
    """See `kernel.contracts.server.Frontends`."""

    def __init__(self, directory: Directory, hosts: Hosts, own_login: bool) -> None:
        self._directory = directory
        self._hosts = hosts
        self._own_login = own_login

    @property
    def own_login(self) -> bool:
        """See `Frontends.own_login`."""
        return self._own_login

    async def deployed(self) -> Collection[str]:
        """See `Frontends.deployed`."""
        return (await self._directory.read()).keys()

    def url(self, app_id: str, request: Request) -> str | None:
        """See `Frontends.url`."""
        return self._hosts.locate(app_id, request)
