"""`[plugins.identity_header]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from kernel.public import DirectoryPolicy, Section

NAME = "the name of a header, as X-Forwarded-User"
Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$", description=NAME)]
HeaderOrNone = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{0,64}$", description=NAME)]
RoleOfApp = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]*:.{1,64}$", description="a role and its app, as crm:editor")
]


class IdentityHeaderConfig(Section, frozen=True, kw_only=True):
    """Which headers name the user, and from which addresses they are believed.

    At least one of `trusted` and `secret` is needed; where both are given, both must hold. What a
    header that is not named says is not read: it may be the client's. Pages of other origins than
    this server's may write when they are among `origins`. `directory` narrows which accounts a user
    sees, as that of `[plugins.auth]`.
    """

    trusted: tuple[str, ...] = ()
    secret: str = ""
    secret_header: Header = "X-Proxy-Secret"
    user_header: Header = "X-Forwarded-User"
    email_header: HeaderOrNone = ""
    name_header: HeaderOrNone = ""
    groups_header: Header = "X-Forwarded-Groups"
    groups: dict[str, tuple[RoleOfApp, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    origins: tuple[str, ...] = ()
    auto_create_users: bool = True
    directory: DirectoryPolicy = "all"
    signing_key: str = ""
