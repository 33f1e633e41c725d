"""The hooks of this plugin. An implementation is marked `@hookimpl(optionalhook=True)`, so that
this plugin can be off."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import Invitation, SignInProvider, hookspec


@hookspec
def sign_in_providers() -> Sequence[SignInProvider]:
    """Name outside systems that sign users in, for `GET /auth/mode`. Collect, at each request, so
    it must not read anything but memory."""
    raise NotImplementedError


@hookspec
def app_host_allows_passwords(app_id: str) -> bool:
    """Say whether pages on the host of an app may log users in with passwords. Collect, at each
    login there; one False forbids it."""
    raise NotImplementedError


@hookspec
async def invite_created(invitation: Invitation) -> bool:
    """Send the link of an invite, as by mail. Called once the invite is stored; True says that it
    was sent. A failure is logged, and the invite stays. The link opens an account: do not log it.
    """
    raise NotImplementedError
