"""Passwords are hashed as in production here."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def hashes(dear_hashes: None) -> None:
    """See `dear_hashes`."""
