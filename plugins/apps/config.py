"""`[plugins.apps]`."""

from typing import Annotated, Literal

from msgspec import Meta

from kernel.public import Section

Wait = Annotated[float, Meta(ge=0.1, le=3600)]


class AppsConfig(Section, frozen=True, kw_only=True):
    """Who may install a new app, and how long an install may take; times in seconds.

    `lock_timeout` bounds how long the records of an app wait behind an install that itself waits
    for a long read. `install_queue_timeout` bounds how long installs of one app wait for each
    other.
    """

    install: Literal["admin", "any"] = "admin"
    statement_timeout: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    lock_timeout: Wait = 5.0
    install_queue_timeout: Wait = 30.0
