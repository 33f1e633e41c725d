"""`[plugins.apps]`."""

from typing import Literal

from kernel.public import Section


class AppsConfig(Section, frozen=True, kw_only=True):
    """Who may install a new app, and how long an install may take; times in seconds.

    `lock_timeout` bounds how long the records of an app wait behind an install that itself waits
    for a long read; `queue` bounds how long installs wait for each other.
    """

    install: Literal["admin", "any"] = "admin"
    statement_timeout: float = 600.0
    lock_timeout: float = 5.0
    queue: float = 30.0
