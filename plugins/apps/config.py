"""`[plugins.apps]`."""

from typing import Annotated, Literal

from msgspec import Meta

from kernel.public import Section

Wait = Annotated[float, Meta(ge=0.1, le=3600)]


class AppsConfig(Section, frozen=True, kw_only=True):
    """Who may install a new app, and how long an install may take; times in seconds.

    `lock_timeout` bounds how long the records of an app wait behind an install that itself waits
    for a long read; `queue` bounds how long installs wait for each other.
    """

    install: Literal["admin", "any"] = "admin"
    statement_timeout: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    lock_timeout: Wait = 5.0
    queue: Wait = 30.0
