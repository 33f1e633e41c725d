"""A PostgreSQL that is frozen, and a listening connection that is: neither is waited for."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.support import DurablePostgres, Site, frozen, no_traceback, notes
from tests.kernel.processes import descendants
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("driver", ["pipeline", "kernel"])
def test_a_frozen_postgresql_is_a_503_within_five_seconds(
    make_site: Callable[..., Site], durable: DurablePostgres, driver: str
) -> None:
    site = make_site()
    env = {"CAUDEX_SERVICES__STATEMENTS": driver}
    with site.serve(env=env) as server, ThreadPoolExecutor(24) as pool:
        user = site.user(server)
        path = notes(user.install())
        user.post(path, json={"name": "x"}).raise_for_status()
        postmaster = durable.pid

        def ask(number: int) -> tuple[int, float]:
            began = time.monotonic()
            if number % 3 == 0:
                answer = user.post(path, json={"name": "y"})
            elif number % 3 == 1:
                answer = user.get(path, params={"limit": 1})
            else:  # a transaction
                answer = user.post(f"{path}/bulk", json=[{"name": "z"}, {"name": "z"}])
            return answer.status_code, time.monotonic() - began

        with frozen(postmaster, *descendants(postmaster)):
            for status, seconds in pool.map(ask, range(24)):
                assert status == 503
                assert seconds < 5
            status, seconds = ask(0)
            assert (status, seconds < 1) == (503, True)
        eventually(lambda: user.get(path).status_code == 200, 10, "it does not come back")
        assert user.post(path, json={"name": "after"}).status_code == 201
        assert server.end()[0] == 0
    no_traceback(server)


LISTENER = """
select pid from pg_stat_activity
where application_name = 'caudex notifications' and datname = current_database()"""


def test_rights_end_within_two_seconds_though_the_listener_is_frozen(site: Site) -> None:
    with site.serve() as one:
        [(stalled,)] = site.sql(LISTENER)
        with site.serve() as two:
            admin = site.user(two)
            app = admin.install()
            user = site.user(one, "reader")
            roles = f"/api/v1/apps/{app}/roles"
            role = {"name": "reader", "permissions": ["notes.read"]}
            admin.post(roles, json=role).raise_for_status()
            body = {"userId": user.id, "role": "reader"}
            admin.post(f"{roles}/assign", json=body).raise_for_status()
            eventually(lambda: user.get(notes(app)).status_code == 200, 5, one.err)
            with frozen(stalled):
                admin.post(f"{roles}/revoke", json=body).raise_for_status()
                began = time.monotonic()
                eventually(lambda: user.get(notes(app)).status_code == 403, 8, one.err)
                assert time.monotonic() - began < 2
    no_traceback(one, two)
