"""Locks that only the server's own login can take."""

from pathlib import Path

import contrib
import kernel
import plugins


def test_no_request_waits_for_a_lock_that_every_login_can_hold() -> None:
    """An advisory lock has no owner, and the code of an app has a login of its own."""
    for package in (kernel, plugins, contrib):
        for path in Path(package.__path__[0]).rglob("*"):
            if path.suffix in (".py", ".sql"):
                assert "_advisory_" not in path.read_text("utf-8"), path
