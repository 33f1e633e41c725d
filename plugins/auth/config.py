"""`[plugins.auth]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from kernel.public import Section


class AuthConfig(Section, frozen=True, kw_only=True):
    """Who may register, and how sessions and passwords are kept.

    `signing_key` is base64 or hex text of 32 bytes or more; without it
    `<data-dir>/config/signing.key` is used. `common_passwords` is a file with one refused password
    a line.
    """

    renamed: ClassVar[Mapping[str, str]] = {"throttle": "rate_limit_logins"}

    registration: Literal["open", "first-user", "closed"] = "open"
    rate_limit_logins: bool = True
    rotate_refresh: bool = True
    signing_key: str = ""
    common_passwords: str = ""
