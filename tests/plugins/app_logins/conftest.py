"""The server with workers that the tests of workers have."""

from tests.plugins.workers.conftest import workers

__all__ = ["workers"]
