"""`[plugins.auth]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from kernel.public import DirectoryPolicy, Section

DAY = 86_400
Policy = Literal["optional", "admins", "required"]
Lifetime = Annotated[int, Meta(ge=1, le=3650 * DAY)]


class AuthConfig(Section, frozen=True, kw_only=True):
    """Who may register, and how sessions and passwords are kept.

    `registration` is by default "open"; on a public server it is "first-user", and the first
    account needs the setup token that the server prints at its start.
    `signing_key` is base64 or hex text of 32 bytes or more; without it
    `<data-dir>/config/signing.key` is used. `refuse_common` refuses
    passwords that are guessed within a million attempts (zxcvbn's lists of words and patterns);
    `common_passwords` is a file with one more refused password a line.

    A session ends `session_idle` seconds after its last use (a login or a refresh), and
    `session_max` seconds after its login. `second_factor` demands one of admins of any app
    ("admins") or of every user ("required"), of those that sign in with a password.

    `directory` narrows which accounts a user sees: "members" shows those that share an app with the
    user, "admins" none but the own one. Admins of any app see all, and only they see emails then.

    `own_email` lets users change their own email, by default where `registration` is "open".
    `url` is what the links of invites begin with, as `https://desk.example.com`; without it, the
    address that a request was sent to.
    """

    renamed: ClassVar[Mapping[str, str]] = {"throttle": "rate_limit_logins"}

    registration: Literal["open", "first-user", "closed"] | None = None
    rate_limit_logins: bool = True
    rotate_refresh: bool = True
    session_idle: Lifetime = 14 * DAY
    session_max: Lifetime = 30 * DAY
    second_factor: Policy = "optional"
    directory: DirectoryPolicy = "all"
    own_email: bool | None = None
    url: Annotated[str, Meta(pattern=r"^(https?://[^/?#@]+)?$")] = ""
    signing_key: str = ""
    refuse_common: bool = False
    common_passwords: str = ""
