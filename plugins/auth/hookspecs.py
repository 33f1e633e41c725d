"""The hook of this plugin. An implementation is marked `@hookimpl(optionalhook=True)`, so that this
plugin can be off."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import SignInProvider, hookspec


@hookspec
def sign_in_providers() -> Sequence[SignInProvider]:
    """Name outside systems that sign users in, for `GET /auth/mode`. Collect, at each request, so
    it must not read anything but memory."""
    raise NotImplementedError
