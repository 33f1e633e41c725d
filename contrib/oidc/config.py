"""`[plugins.oidc]`."""

from __future__ import annotations

import msgspec

from kernel.public import Section


class OidcConfig(Section, frozen=True, kw_only=True):
    """The provider, and whom it may let in.

    `public_url` is where browsers reach this server; the provider must know
    `<public_url>/api/v1/auth/oidc/callback`. `frontends` are the origins that a sign-in may return
    to. `create` makes an account for whoever has none; `match_email` gives an account that exists
    to whoever proves its email at the provider: only where admins make the accounts, since nobody
    else had to prove it. `domains`, where given, are the only ones of emails. `roles` says which
    roles (`app:role`) each value of `roles_claim` gives.
    """

    issuer: str
    client_id: str
    client_secret: str
    public_url: str
    frontends: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    create: bool = True
    match_email: bool = False
    domains: tuple[str, ...] = ()
    username_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
