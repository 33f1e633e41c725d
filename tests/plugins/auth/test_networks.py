"""Guesses from one network do not lock the owner out of a network of an earlier sign-in."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kernel.public import STATEMENTS
from kernel.testing import running_server
from plugins.auth.maintenance import remove_expired
from plugins.auth.service import AUTH
from plugins.auth.sessions import store
from tests.plugins.auth.test_throttle import PASSWORD, hold, pass_time

HOME, OFFICE, STRANGER, ABROAD = "192.0.2.1", "198.18.0.77", "198.51.100.7", "203.0.113.9"
HOME_NETWORK = "192.0.2.0/24"
BEHIND_PROXY = {
    "plugins": {"auth": {"rate_limit_logins": True}},
    "server": {"trusted_proxies": ["127.0.0.0/8"]},
}


@pytest.fixture(scope="module")
def shared(postgres):
    with running_server(postgres, BEHIND_PROXY) as running:
        assert running.admin
        yield running


@pytest.fixture
def server(shared):
    """A server that counts from the start."""
    shared.sql("truncate caudex_auth.throttle")
    return shared


@pytest.fixture
def owner(server):
    """An account that has signed in at home."""
    user = server.user()
    assert attempt(server, user, HOME, PASSWORD).status_code == 200
    return user


def attempt(server, user, address, password="Wr0ngPass!xyz"):
    name = user if isinstance(user, str) else user.username
    return server.http.post(
        "/api/v1/auth/login",
        json={"username": name, "password": password},
        headers={"x-forwarded-for": address},
    )


def guess(server, user, address, times):
    return [attempt(server, user, address).status_code for _ in range(times)]


def blocked(server, user, address):
    hold(server)
    answer = attempt(server, user, address, PASSWORD)
    pass_time(server, 60)
    return answer.status_code == 429


def refresh(server, tokens, address):
    return server.http.post(
        "/api/v1/auth/refresh",
        json={"refreshToken": tokens["refreshToken"]},
        headers={"x-forwarded-for": address},
    ).json()


def sweep(server):
    server.run(remove_expired, server.services.get(STATEMENTS))


def networks(server, user):
    found = server.sql("select network from caudex_auth.networks where user_id = %s", user.id)
    return {network for (network,) in found}


def test_the_owner_gets_in_where_they_have_been_before_whatever_a_stranger_tries(server, owner):
    assert guess(server, owner, STRANGER, 6) == [401] * 6
    for delay in (1, 2, 4, 8):
        assert blocked(server, owner, STRANGER)
        assert attempt(server, owner, HOME, PASSWORD).status_code == 200
        pass_time(server, delay)
        assert guess(server, owner, STRANGER, 1) == [401]
    assert blocked(server, owner, ABROAD), "a new network is as good as the stranger's"


def test_a_login_of_the_owner_gives_a_stranger_no_more_guesses(server, owner):
    assert guess(server, owner, STRANGER, 6) == [401] * 6
    assert attempt(server, owner, HOME, PASSWORD).status_code == 200
    assert blocked(server, owner, STRANGER)


def test_guessing_is_slowed_down_where_the_owner_has_been_too(server, owner):
    assert guess(server, owner, HOME, 6) == [401] * 6
    assert blocked(server, owner, HOME)
    assert attempt(server, owner, STRANGER, PASSWORD).status_code == 200


@pytest.mark.slow
def test_failures_in_a_network_keep_no_account_out_that_has_been_there(server, owner):
    colleague = server.user()
    assert attempt(server, colleague, "192.0.2.200", PASSWORD).status_code == 200
    guesses = [attempt(server, f"name{n}", f"192.0.2.{n}").status_code for n in range(40)]
    assert guesses == [401] * 30 + [429] * 10
    assert attempt(server, owner, "192.0.2.99", PASSWORD).status_code == 200
    assert attempt(server, colleague, HOME, PASSWORD).status_code == 200
    assert guess(server, owner, HOME, 1) == [401]


@pytest.mark.slow
def test_blocked_network_gives_every_other_name_the_same_answer(server, owner, monkeypatch):
    """Whether there is such an account or not, and before a password is hashed."""
    stranger = server.user()
    for number in range(30):
        attempt(server, f"name{number}", HOME)
    server.sql("update caudex_auth.throttle set blocked_until = now() + interval '40 s 500 ms'")

    async def fail(*_):
        raise AssertionError("a password was hashed")

    monkeypatch.setattr(server.services.get(AUTH).logins._hasher, "verify", fail)
    answers = [
        attempt(server, name, HOME, password)
        for name in (stranger, "no-such-user")
        for password in (PASSWORD, "Wr0ngPass!xyz")
    ]
    assert {answer.status_code for answer in answers} == {429}
    assert {answer.text for answer in answers} <= {
        f'{{"error":"too many failed logins; try again in {seconds} s"}}'
        for seconds in (39, 40, 41)
    }


@pytest.mark.slow
def test_retry_after_of_a_network_grows(server, owner):
    for number in range(30):
        assert attempt(server, f"name{number}", HOME).status_code == 401
    for delay in (60, 120, 240, 480, 900, 900):
        answer = attempt(server, "one-more", HOME)
        assert answer.status_code == 429
        assert delay - 30 < int(answer.headers["retry-after"]) <= delay
        pass_time(server, delay)
        assert attempt(server, f"after{delay}", HOME).status_code == 401
    pass_time(server, 900 + 301)
    assert [attempt(server, f"later{n}", HOME).status_code for n in range(30)] == [401] * 30
    assert attempt(server, "one-more", HOME).headers["retry-after"] in ("59", "60")


@pytest.mark.slow
def test_slow_failures_of_a_network_are_free(server):
    for number in range(60):
        assert attempt(server, f"name{number}", HOME).status_code == 401
        pass_time(server, 11)


@pytest.mark.slow
def test_parallel_failures_of_a_network_let_its_delay_grow_once(server):
    for number in range(25):
        attempt(server, f"name{number}", HOME)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(
            pool.map(lambda n: attempt(server, f"more{n}", HOME).status_code, range(16))
        )
    assert (statuses.count(401), statuses.count(429)) == (5, 11)
    answer = attempt(server, "one-more", HOME)
    assert 30 < int(answer.headers["retry-after"]) <= 60


def test_many_networks_give_a_stranger_no_more_guesses(server, owner):
    addresses = [f"198.18.{number}.7" for number in range(1, 7)]
    assert [attempt(server, owner, each).status_code for each in addresses] == [401] * 6
    assert blocked(server, owner, STRANGER)


def test_a_name_that_no_one_has_is_counted_like_an_account_that_has_not_been_there(server):
    assert guess(server, "no-such-user", STRANGER, 6) == [401] * 6
    assert blocked(server, "no-such-user", HOME)


def test_a_network_is_remembered_after_a_logout(server, owner):
    tokens = attempt(server, owner, OFFICE, PASSWORD).json()
    out = {"refreshToken": tokens["refreshToken"]}
    assert server.http.post("/api/v1/auth/logout", json=out).status_code == 200
    over = "update caudex_auth.sessions set revoked_at = now() - interval '2 days'"
    server.sql(f"{over} where user_id = %s", owner.id)
    sweep(server)
    guess(server, owner, STRANGER, 6)
    assert not blocked(server, owner, OFFICE)


def test_a_network_where_a_session_goes_on_is_one_where_the_owner_has_been(server, owner):
    tokens = attempt(server, owner, HOME, PASSWORD).json()
    assert "accessToken" in refresh(server, tokens, OFFICE)
    guess(server, owner, STRANGER, 6)
    assert not blocked(server, owner, OFFICE)


def test_an_ipv6_network_is_its_64(server):
    user = server.user()
    assert attempt(server, user, "2001:db8:1:2::1", PASSWORD).status_code == 200
    guess(server, user, STRANGER, 6)
    assert not blocked(server, user, "2001:db8:1:2:ffff::9")
    assert blocked(server, user, "2001:db8:1:3::1")


def test_networks_are_forgotten_a_month_after_they_were_seen(server, owner):
    assert HOME_NETWORK in networks(server, owner)
    server.sql("update caudex_auth.networks set seen_at = seen_at - interval '31 days'")
    guess(server, owner, STRANGER, 6)
    assert blocked(server, owner, HOME)
    sweep(server)
    assert networks(server, owner) == set()


def test_a_network_that_is_used_goes_on_being_known(server, owner):
    tokens = attempt(server, owner, HOME, PASSWORD).json()
    for again in (
        lambda: attempt(server, owner, HOME, PASSWORD),
        lambda: refresh(server, tokens, HOME),
    ):
        server.sql("update caudex_auth.networks set seen_at = now() - interval '29 days'")
        again()
        seen = "select seen_at > now() - interval '1 hour' from caudex_auth.networks"
        assert server.sql(
            f"{seen} where network = %s and user_id = %s", HOME_NETWORK, owner.id
        ) == [(True,)]


def test_the_newest_networks_of_an_account_are_known_and_no_more(server, owner, monkeypatch):
    monkeypatch.setattr(store, "MAX_NETWORKS", 3)
    tokens = attempt(server, owner, HOME, PASSWORD).json()
    for number in range(5):
        attempt(server, owner, f"10.0.{number}.1", PASSWORD)
        tokens = refresh(server, tokens, f"10.1.{number}.1")
    assert networks(server, owner) == {"10.1.3.0/24", "10.0.4.0/24", "10.1.4.0/24"}


def test_networks_go_with_the_account(server, owner):
    assert networks(server, owner)
    server.admin.delete(f"/api/v1/users/{owner.id}").raise_for_status()
    assert networks(server, owner) == set()
