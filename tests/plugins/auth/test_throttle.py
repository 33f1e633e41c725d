"""Guessing is slowed down, by account and by address, in the time of the database."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernel.testing import running_server
from plugins.auth.routes import AuthRoutes

PASSWORD = "Str0ngPass!x"
THROTTLED = {"plugins": {"auth": {"rate_limit_logins": True}}}


@pytest.fixture(scope="module")
def shared(postgres):
    with running_server(postgres, THROTTLED) as running:
        assert running.admin
        yield running


@pytest.fixture
def server(shared):
    """A server that counts from the start: it keeps no count but in this table."""
    shared.sql("truncate caudex_auth.throttle")
    return shared


def attempt(server, username, password="Wr0ngPass!xyz"):
    body = {"username": username, "password": password}
    return server.http.post("/api/v1/auth/login", json=body)


def fail(server, username, times):
    return [attempt(server, username).status_code for _ in range(times)]


def pass_time(server, seconds):
    server.sql(
        "update caudex_auth.throttle set blocked_until = blocked_until - make_interval(secs => %s),"
        " since = since - make_interval(secs => %s),"
        " failed_at = failed_at - make_interval(secs => %s)",
        seconds, seconds, seconds,
    )  # fmt: skip


def hold(server):
    """Extend each block by a minute: a busy machine may take longer than the delay."""
    pass_time(server, -60)


@pytest.mark.parametrize("name", ["victim", "no-such-user"])
def test_five_failures_are_free_and_then_the_delay_doubles(server, name):
    if name == "victim":
        server.user(name)
    assert fail(server, name, 5) == [401] * 5
    for delay in (1, 2, 4, 8, 16, 32, 60, 60):
        assert attempt(server, name).status_code == 401
        assert server.sql(
            "select round(extract(epoch from max(blocked_until - failed_at)))::int"
            " from caudex_auth.throttle"
        ) == [(delay,)]
        hold(server)
        answer = attempt(server, name, PASSWORD)
        assert answer.status_code == 429
        assert delay + 40 < int(answer.headers["retry-after"]) <= delay + 60
        assert set(answer.json()) == {"error"}
        pass_time(server, delay + 60)


def test_a_login_that_fits_forgives(server):
    user = server.user()
    assert fail(server, user.username, 5) == [401] * 5
    assert attempt(server, user.username, PASSWORD).status_code == 200
    assert fail(server, user.username, 5) == [401] * 5


def test_an_hour_forgives(server):
    user = server.user()
    assert fail(server, user.username, 6) == [401] * 6
    pass_time(server, 3601)
    assert fail(server, user.username, 5) == [401] * 5


def test_every_spelling_of_a_name_is_one_account(server):
    user = server.user("Viktor")
    spellings = ["viktor", "VIKTOR", " Viktor ", "\uff36iktor", "vIkToR", "viktor"]
    for spelling in spellings:
        assert attempt(server, spelling).status_code == 401
    hold(server)
    assert attempt(server, user.username, PASSWORD).status_code == 429


def test_name_and_address_of_an_account_are_counted_together(server):
    user = server.user()
    email = f"{user.username}@example.com"
    server.admin.patch(f"/api/v1/users/{user.id}", json={"email": email}).raise_for_status()
    assert fail(server, user.username, 3) == fail(server, email, 3) == [401] * 3
    hold(server)
    assert attempt(server, user.username, PASSWORD).status_code == 429
    assert attempt(server, email, PASSWORD).status_code == 429


def test_other_accounts_are_not_affected(server):
    victim, other = server.user(), server.user()
    fail(server, victim.username, 6)
    hold(server)
    assert attempt(server, victim.username, PASSWORD).status_code == 429
    assert attempt(server, other.username, PASSWORD).status_code == 200


@pytest.mark.slow
def test_spraying_from_one_network_is_stopped(server):
    user = server.user()
    assert [attempt(server, f"name{n}").status_code for n in range(30)] == [401] * 30
    assert attempt(server, user.username, PASSWORD).status_code == 200, "it signed in here before"
    answer = attempt(server, "one-more")
    assert answer.status_code == 429
    assert 30 < int(answer.headers["retry-after"]) <= 60
    pass_time(server, 61)
    assert attempt(server, "one-more").status_code == 401


def register(server, username, password=PASSWORD, **headers):
    body = {"username": username, "password": password}
    return server.http.post("/api/v1/auth/register", json=body, headers=headers)


@pytest.fixture
def new_server(make_server):
    """A server that has counted the registration of its admin."""
    running = make_server(THROTTLED)
    assert running.admin
    return running


@pytest.mark.slow
def test_registering_account_after_account_is_stopped_for_five_minutes(new_server):
    server = new_server
    before = server.sql("select failures from caudex_auth.throttle where key like 'register:%'")
    assert before == [(1,)], "the admin of the fixture"
    assert register(server, "weak", "weak").status_code == 400  # costs nothing, so is not counted
    for number in range(29):
        assert register(server, f"n{number % 27}").status_code == (201 if number < 27 else 400)
    answer = register(server, "one-more", **{"x-forwarded-for": "192.0.2.1"})
    assert answer.status_code == 429
    assert 200 < int(answer.headers["retry-after"]) <= 300
    assert "too many registrations" in answer.json()["error"]
    [route] = [r for r in AuthRoutes(server.services).routes() if r.path.endswith("/register")]
    assert 429 in route.errors
    assert register(server, "weak", "weak").status_code == 400
    assert attempt(server, "n1", PASSWORD).status_code == 200  # logins go on
    admin = server.admin.post(
        "/api/v1/auth/register", json={"username": "by-admin", "password": PASSWORD}
    )
    assert admin.status_code == 201
    pass_time(server, 301)
    assert register(server, "later").status_code == 201


@pytest.mark.slow
def test_parallel_registrations_are_counted_one_by_one(new_server):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: register(new_server, f"p{n}").status_code, range(50)))
    assert answers.count(201) == 29
    assert answers.count(429) == 21


@pytest.mark.slow
def test_a_forwarded_address_is_not_believed(server):
    for number in range(30):
        server.http.post(
            "/api/v1/auth/login",
            json={"username": f"name{number}", "password": "x"},
            headers={"x-forwarded-for": f"192.0.2.{number}"},
        )
    assert attempt(server, "one-more").status_code == 429


def test_parallel_guesses_get_no_more_answers_than_serial_ones(server, dear_hashes):
    user = server.user()
    began = time.monotonic()
    with ThreadPoolExecutor(24) as pool:
        statuses = list(pool.map(lambda _: attempt(server, user.username).status_code, range(24)))
    took = time.monotonic() - began
    waited = sum(took >= seconds for seconds in (1, 1 + 2, 1 + 2 + 4, 1 + 2 + 4 + 8))
    assert statuses.count(401) <= 7 + waited  # a client that waited may guess again
    assert set(statuses) == {401, 429}


@pytest.mark.slow
def test_parallel_guesses_of_the_current_password_gain_nothing_either(server, dear_hashes):
    user = server.user()
    change = {"current": "Wr0ngPass!xyz", "new": "N3wPassword!"}
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda _: user.post("/api/v1/auth/password", json=change), range(16))
        statuses = [answer.status_code for answer in answers]
    waited = sum(time.monotonic() - began >= seconds for seconds in (1, 1 + 2, 1 + 2 + 4))
    assert statuses.count(400) <= 7 + waited
    assert set(statuses) == {400, 429}


@pytest.mark.slow
def test_the_right_guess_among_many_gets_no_answer_either(server, dear_hashes):
    user = server.user()

    def guess(current):
        if current == PASSWORD:
            time.sleep(0.1)  # behind the others, whose hashes are still to come
        change = {"current": current, "new": "N3wPassword!"}
        return user.post("/api/v1/auth/password", json=change).status_code

    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(guess, [*["Wr0ngPass!xyz"] * 15, PASSWORD]))
    if time.monotonic() - began < 1:  # else it has waited as long as it has to
        assert statuses[-1] == 429, statuses


def test_parallel_logins_that_fit_are_not_throttled(server):
    user = server.user()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: attempt(server, user.username, PASSWORD), range(16)))
    assert {answer.status_code for answer in answers} == {200}


def test_guessing_the_current_password_is_slowed_down_too(server):
    user = server.user()
    change = {"current": "Wr0ngPass!xyz", "new": "N3wPassword!"}
    statuses = [user.post("/api/v1/auth/password", json=change).status_code for _ in range(6)]
    assert statuses == [400] * 6
    hold(server)
    assert user.post("/api/v1/auth/password", json=change).status_code == 429
    assert attempt(server, user.username, PASSWORD).status_code == 200


@pytest.mark.slow
def test_it_can_be_switched_off(make_server):
    server = make_server({"plugins": {"auth": {"rate_limit_logins": False}}})
    assert fail(server, "eve", 40) == [401] * 40
    assert all(register(server, f"n{number}").status_code == 201 for number in range(32))
    assert server.sql("select count(*) from caudex_auth.throttle") == [(0,)]


def test_names_are_not_kept_in_the_table(server):
    fail(server, "typed-a-password-here", 1)
    rows = server.sql("select key from caudex_auth.throttle")
    assert rows
    assert "typed-a-password-here" not in str(rows)
