"""How changed secrets reach workers that run, also where the news of them were lost."""

import time
from collections.abc import Iterator

import anyio
import pytest

from kernel.public import NOTIFICATIONS, VAULT, WORKERS, Unavailable, server_actor
from kernel.testing import Server, running_server
from plugins.vault.delivery import Delivery
from tests.plugins.workers.support import QUICK, deployed, result
from tests.waiting import eventually

ACTOR = server_actor("test")


@pytest.fixture(scope="module")
def workers(postgres) -> Iterator[Server]:
    quick = QUICK | {"start_timeout": 30, "rpc_timeout": 30}  # those limits are no matter here
    with running_server(postgres, {"plugins": {"workers": quick}}) as running:
        yield running


def value(server: Server, app: str, key: str = "KEY") -> str | None:
    return result(server.admin, app, "facts")["environment"].get(key)


def pid(server: Server, app: str) -> int:
    return result(server.admin, app, "pid")


def put(server: Server, app: str | None, text: str) -> None:
    server.run(lambda: server.services.get(VAULT).set(ACTOR, app, "KEY", text))


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch):
    """Changes of secrets that no one is notified of."""

    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr("plugins.vault.service.record_secret", nothing)


@pytest.mark.slow
def test_after_lost_news_the_workers_with_old_secrets_are_restarted_and_no_other(
    workers: Server, unheard: None
):
    old, current = deployed(workers), deployed(workers)
    before = pid(workers, old), pid(workers, current)
    put(workers, old, "new")
    time.sleep(1.0)
    assert value(workers, old) is None, "the test means nothing if the news came"
    workers.run(workers.services.get(NOTIFICATIONS).invalidate)
    eventually(lambda: value(workers, old) == "new")
    time.sleep(1.0)
    assert pid(workers, old) != before[0]
    assert pid(workers, current) == before[1]


def test_a_broken_connection_brings_a_secret_that_was_set_meanwhile(workers: Server, unheard: None):
    app = deployed(workers)
    put(workers, app, "meanwhile")
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
    [(done,)] = workers.sql(f"{cut} and datname = current_database()", "caudex notifications")
    assert done
    eventually(lambda: value(workers, app) == "meanwhile")


@pytest.mark.slow
def test_a_value_that_is_no_other_restarts_nothing(workers: Server):
    app = deployed(workers)
    put(workers, app, "same")
    eventually(lambda: value(workers, app) == "same")
    before = pid(workers, app)
    put(workers, app, "same")
    put(workers, None, "hidden by the app's own")
    time.sleep(1.5)
    assert pid(workers, app) == before


def test_a_worker_whose_secrets_cannot_be_read_is_tried_again():
    asked: list[str] = []

    class Workers:
        def running(self) -> list[str]:
            return ["one", "two", "three"]

        async def refresh(self, app_id: str) -> None:
            asked.append(app_id)
            if asked.count(app_id) == 1 and app_id != "two":
                raise Unavailable("no database") if app_id == "one" else RuntimeError("a fault")

    class Services:
        def find(self, key: object) -> Workers:
            assert key is WORKERS
            return Workers()

    async def lose_news() -> None:
        delivery = Delivery(Services(), settle=0.01, retry=0.01)  # type: ignore[arg-type]
        async with delivery.running():
            await delivery.on_notification(None)
            with anyio.move_on_after(10):
                while len(asked) < 4:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)  # and no one is looked at once more

    anyio.run(lose_news)
    assert asked == ["one", "three", "two", "one"]
