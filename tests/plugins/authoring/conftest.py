"""An author with a shell for each test."""

from pathlib import Path

import pytest

from kernel.testing import Server

from .support import Author


@pytest.fixture
def author(server: Server, tmp_path: Path) -> Author:
    """Signed in as the admin by the environment."""
    return Author(tmp_path, server)


@pytest.fixture
def stranger(tmp_path: Path) -> Author:
    """Not signed in anywhere."""
    return Author(tmp_path)
