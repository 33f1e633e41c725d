"""What tests of webhooks share."""

from collections.abc import Generator
from pathlib import Path

import pytest

from .support import Receiver, receiving


@pytest.fixture
def receiver(tmp_path: Path) -> Generator[Receiver]:
    """A program of its own that takes deliveries."""
    with receiving(tmp_path) as running:
        yield running
