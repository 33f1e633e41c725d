"""kill -9 of servers, of PostgreSQL and of receivers: webhooks lose nothing and keep the order."""

from __future__ import annotations

import json
import random
import signal
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.contrib.webhooks.support import Receiver, receiving
from tests.faults.support import ROUNDS, DurablePostgres, Load, Site, User, pause
from tests.faults.test_kill import kill
from tests.waiting import eventually

pytestmark = pytest.mark.slow

ALLOW = {"allow": ["127.0.0.0/8"]}


@pytest.fixture
def receiver(tmp_path) -> Generator[Receiver]:
    with receiving(tmp_path) as running:
        yield running


def make_hook(user: User, app_id: str, url: str, name: str) -> str:
    body = {"name": name, "url": url, "entity": "notes"}
    answer = user.post(f"/api/v1/apps/{app_id}/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def give_lease_back(site: Site) -> None:
    """A dead server keeps the lease for 22 s; the test does not wait for that."""
    site.sql("delete from caudex_kernel.leases where name like 'webhooks.%%'")


def wait_for_all(site: Site, app_id: str, hook_id: str, receiver: Receiver) -> None:
    """Wait until each change in the trail was received."""
    [(changes,)] = site.sql(
        "select count(*) from caudex_audit.log where table_schema = %s and table_name = 'notes'",
        app_id,
    )

    def count_ids() -> int:
        return len({line["headers"]["webhook-id"] for line in receiver.received("/good")})

    def describe() -> Any:
        states = (
            "select state, count(*) from caudex_webhooks.deliveries where hook_id = %s group by 1"
        )
        return changes, count_ids(), site.sql(states, hook_id)

    eventually(lambda: count_ids() >= changes, 120, describe)
    assert count_ids() == changes


def check_order(receiver: Receiver) -> dict[str, list[float]]:
    """Return the revisions of each record as they came; a repetition is the last one again."""
    revisions = defaultdict[str, list[float]](list)
    for line in receiver.received("/good"):
        data = json.loads(line["body"])["data"]
        revisions[data["id"]].append(data["record"]["revision"] or 0)
    for record, received in revisions.items():
        assert received == sorted(received), f"{record}: {received}"
    return revisions


def test_a_killed_server_has_sent_or_will_send_every_acknowledged_write(
    make_site: Callable[..., Site], receiver: Receiver
) -> None:
    site = make_site(plugins__webhooks=ALLOW)
    hook_id = ""
    with ExitStack() as stack:
        load: Load | None = None
        app_id = ""
        for _ in range(4 * ROUNDS):
            with site.serve() as server:
                if load is None:
                    user = site.user(server)
                    app_id = user.install()
                    hook_id = make_hook(user, app_id, receiver.url("/good"), "good")
                    make_hook(user, app_id, "http://127.0.0.1:1/", "dead")
                    load = stack.enter_context(Load(user, app_id, writers=3))
                load.goto(server.url)
                before = len(receiver.received())
                load.more(20)
                eventually(lambda: len(receiver.received()) > before + 20, 60)  # noqa: B023
                pause(0, 0.5)
                kill(server)
                load.goto("http://127.0.0.1:1")
                give_lease_back(site)
    assert load is not None
    with site.serve() as server:
        load.check(site.sql)
        wait_for_all(site, app_id, hook_id, receiver)
        assert server.end()[0] == 0
    received = check_order(receiver)
    for writer in load._writers:
        assert set(writer.acknowledged.values()) <= received.keys()
        if writer.record:
            assert received[writer.record][-1] >= writer.revisions[0]


def test_two_servers_send_each_delivery_once_and_one_takes_over(
    make_site: Callable[..., Site], receiver: Receiver
) -> None:
    site = make_site(plugins__webhooks=ALLOW)
    with site.serve() as first, site.serve() as second:
        user = site.user(first)
        app_id = user.install()
        hook_id = make_hook(user, app_id, receiver.url("/good"), "good")
        with Load(user, app_id, writers=2) as load:
            load.more(30)
            load.goto(second.url)
            load.more(30)
        wait_for_all(site, app_id, hook_id, receiver)
        ids = [line["headers"]["webhook-id"] for line in receiver.received("/good")]
        assert len(ids) == len(set(ids))  # no process sends what another one sends
        kill(first)
        user.goto(second.url)
        with Load(user, app_id, writers=2) as load:
            load.more(10)
        wait_for_all(site, app_id, hook_id, receiver)  # within the lease of 22 s and 8 s more
        check_order(receiver)


def test_a_receiver_and_postgresql_that_are_killed_lose_nothing(
    make_site: Callable[..., Site], durable: DurablePostgres, receiver: Receiver
) -> None:
    site = make_site(plugins__webhooks=ALLOW)
    with site.serve() as server:
        user = site.user(server)
        app_id = user.install()
        hook_id = make_hook(user, app_id, receiver.url("/good"), "good")
        with Load(user, app_id, writers=2) as load:
            for _ in range(2 * ROUNDS):
                load.more(20)
                receiver.stop()
                pause(0, 0.3)
                durable.signal(signal.SIGKILL)
                pause(0, 0.3)
                durable.bring_back()
                receiver.start()
                load.more(20, 60)
        hurry = "update caudex_webhooks.deliveries set next_at = now() where next_at > now()"
        for _ in range(3):  # what failed meanwhile would wait for minutes
            pause(0.5, 1 + random.random())
            site.sql(hurry)
        wait_for_all(site, app_id, hook_id, receiver)
        load.check(site.sql)
    check_order(receiver)
