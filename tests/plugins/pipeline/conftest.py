"""What the tests of the driver share."""

import pytest

from plugins.pipeline import groups


@pytest.fixture
def no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send nothing that waits for a connection to the pool, which would hide that it waited."""
    monkeypatch.setattr(groups, "MAX_WAIT", 3600.0)
