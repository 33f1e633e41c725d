"""`[plugins.oidc]`."""

from __future__ import annotations

import msgspec

from kernel.public import Section


class OidcConfig(Section, frozen=True, kw_only=True):
    """The provider, and which of its users may sign in.

    `public_url` is the address by which browsers reach this server. The provider must know
    `<public_url>/api/v1/auth/oidc/callback`. A sign-in may return to the origins `frontends`.
    Clients show `display_name`, by default the host of the issuer. `auto_create_users` creates an
    account at the first sign-in. `match_email` signs a user in to the existing account with the
    same verified email: only safe where admins create accounts, since registration does not verify
    an email. `domains` restricts the domains of emails. `roles` maps each value of `roles_claim` to
    roles (`app:role`). `resources` are paths of this server that take the provider's access tokens,
    which must be issued for `<public_url><path>` (RFC 8707).
    """

    issuer: str
    client_id: str
    client_secret: str
    public_url: str
    frontends: tuple[str, ...] = ()
    display_name: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    auto_create_users: bool = True
    match_email: bool = False
    domains: tuple[str, ...] = ()
    username_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    resources: tuple[str, ...] = ("/api/v1/mcp",)
