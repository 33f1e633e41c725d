"""Methods of the worker that a share may call: those that the manifest's `public` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from kernel.public import (
    RPC_USER,
    Access,
    Apps,
    Caller,
    Forbidden,
    Identity,
    NotFound,
    Workers,
    new_delegation,
)

from .models import OpenedShare, PublicCall, PublicMethod, Share
from .section import read_section

SECONDS: Final = 60.0
"""How long the token of a call may be used, which is longer than a call lasts."""


class PublicMethods:
    """Calls methods with the rights of who made a share."""

    def __init__(
        self,
        apps: Apps,
        access: Access,
        identity: Identity,
        find_workers: Callable[[], Workers | None],
    ) -> None:
        self.apps = apps
        self._access = access
        self._identity = identity
        self._find_workers = find_workers

    async def call(self, opened: OpenedShare, body: PublicCall) -> bytes:
        """Call a method and return its result. Raises Forbidden, NotFound and what it raises."""
        share = opened.share
        method = await self._find_method(share, body.method)
        check_scope(method, share.context, body.params)
        workers = self._find_workers()
        if workers is None:
            raise NotFound("this server runs no workers")
        await self._access.authorize(opened.maker, RPC_USER, {"app_id": share.app_id})
        caller = await self._make_caller(share)
        params = msgspec.json.encode(body.params)
        return await workers.rpc(share.app_id, method.name, params, caller)

    async def _find_method(self, share: Share, name: str) -> PublicMethod:
        section = await read_section(self.apps, share.app_id)
        for method in section.rpcs:
            if method.name == name:
                return method
        raise NotFound(f"the app has no public method {name[:80]!r}")

    async def _make_caller(self, share: Share) -> Caller:
        """Return the maker, for a worker. Raises NotFound."""
        delegation = new_delegation(share.app_id, SECONDS)
        token = await self._identity.issue_delegated_token(share.user_id, delegation, share.limits)
        return Caller(
            user_id=share.user_id,
            username=share.username,
            auth_token=token,
            limits=msgspec.UNSET if share.limits is None else share.limits,
        )


def check_scope(
    method: PublicMethod, context: Mapping[str, Any], params: Mapping[str, Any]
) -> None:
    """Require that parameters are what the context of the share says. Raises Forbidden."""
    for name in method.scope:
        is_known = name in context and name in params
        if not is_known or _write(context[name]) != _write(params[name]):
            raise Forbidden(f"the share is not for this {name[:80]!r}")


def _write(value: Any) -> bytes:
    """Write a value in one spelling: 1, 1.0, true and "1" differ, the order of members does not."""
    return msgspec.json.encode(value, order="deterministic")
