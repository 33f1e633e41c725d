"""Run in a server that is to be killed: a worker whose jobs never end."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from kernel.public import WORKERS, Plugin, Provider, Services, hookimpl, provide
from tests.plugins.jobs.fake_workers import FakeWorkers, Job

APP = "CAUDEX_TEST_APP"


class DyingPlugin(Plugin):
    name = "dying"

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        return [provide(WORKERS, self._make)]

    @asynccontextmanager
    async def _make(self, services: Services) -> AsyncGenerator[Any]:
        workers = FakeWorkers()
        workers.apps.add(os.environ[APP])
        workers.handler = self._hang
        yield workers

    async def _hang(self, job: Job) -> None:
        await anyio.sleep_forever()
