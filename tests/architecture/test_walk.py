"""A request passes few files, so that a reader can follow it."""

from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from kernel.testing import Postgres, Server
from tests.architecture.walk import Walk, walk_of_deploy, walk_of_get, walk_of_job, walked_server

LIMITS = {walk_of_get: 19, walk_of_deploy: 45, walk_of_job: 32}
"""Files; the goals are 22, 45 and 35. Lower a number whenever a change allows it."""


@pytest.fixture(scope="module")
def walking(postgres: Postgres) -> Generator[tuple[Walk, Server]]:
    with walked_server(postgres) as walking:
        yield walking


@pytest.mark.slow
@pytest.mark.parametrize("walk_of", LIMITS, ids=lambda walk_of: walk_of.__name__)
def test_a_warm_request_passes_few_files(
    walking: tuple[Walk, Server], walk_of: Callable[[Walk, Server], Counter[str]]
) -> None:
    passed = walk_of(*walking)
    assert len(passed) <= LIMITS[walk_of], sorted(Path(name).name for name in passed)
