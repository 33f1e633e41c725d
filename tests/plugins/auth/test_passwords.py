"""Argon2id off the event loop, and what becomes of hashes that have older parameters."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from nacl.pwhash import argon2id

from kernel.public import SESSIONS, Actor, BadRequest, Unauthenticated, Unavailable
from kernel.testing import Server
from plugins.auth.rules import passwords
from plugins.auth.rules.passwords import MAX_WAITING, PARAMETERS, PasswordHasher
from plugins.auth.service import AUTH

pytestmark = pytest.mark.usefixtures("dear_hashes")
PASSWORD = "Str0ngPass!x"


def test_hashes_are_phc_strings_of_nineteen_mebibytes_and_two_passes():
    async def main():
        phc = await PasswordHasher().hash(PASSWORD)
        assert phc.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert phc.startswith(PARAMETERS)

    anyio.run(main)


def test_the_exact_text_counts_every_character_of_it():
    async def main():
        hasher = PasswordHasher()
        long = "Aa1" + "x" * 1021
        phc = await hasher.hash(long)
        assert await hasher.verify(phc, long)
        for other in (long[:-1], long[:-1] + "y", long.lower(), f" {long}", long[:72]):
            assert not await hasher.verify(phc, other)

    anyio.run(main)


def test_an_unknown_account_has_no_password_that_fits():
    async def main():
        assert not await PasswordHasher().verify(None, PASSWORD)

    anyio.run(main)


def weak_hash():
    return argon2id.str(PASSWORD.encode(), opslimit=1, memlimit=8192 * 1024).decode()


def test_other_parameters_are_outdated():
    weak = weak_hash()

    async def main():
        hasher = PasswordHasher()
        assert hasher.is_outdated(weak)
        assert await hasher.verify(weak, PASSWORD)
        assert not hasher.is_outdated(await hasher.hash(PASSWORD))

    anyio.run(main)


@pytest.mark.slow
def test_a_queue_that_is_full_refuses_at_once_and_recovers():
    async def main():
        hasher = PasswordHasher()
        refused = 0

        async def attempt():
            nonlocal refused
            try:
                await hasher.verify(None, PASSWORD)
            except Unavailable:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(2 + MAX_WAITING + 10):
                tasks.start_soon(attempt)
        assert refused == 10
        assert not await hasher.verify(None, PASSWORD)

    anyio.run(main)


@pytest.mark.slow
def test_a_request_that_stops_waiting_leaves_the_queue():
    async def main():
        hasher = PasswordHasher()
        async with anyio.create_task_group() as tasks:
            for _ in range(MAX_WAITING):
                tasks.start_soon(hasher.verify, None, PASSWORD)
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        async with anyio.create_task_group() as tasks:
            for _ in range(2 + MAX_WAITING):
                tasks.start_soon(hasher.verify, None, PASSWORD)

    anyio.run(main)


@pytest.mark.parametrize("phc", ["", "not a hash", "$argon2id$v=19$m=19456,t=2,p=1$"])
def test_a_broken_hash_fits_nothing(phc):
    async def main():
        assert not await PasswordHasher().verify(phc or "x", PASSWORD)

    anyio.run(main)


def set_hash(server, user, phc):
    server.sql("update caudex_auth.users set password_hash = %s where id = %s", phc, user.id)


def hash_of(server, user):
    [(phc,)] = server.sql("select password_hash from caudex_auth.users where id = %s", user.id)
    return phc


def login(server, user):
    body = {"username": user.username, "password": PASSWORD}
    return server.http.post("/api/v1/auth/login", json=body)


@pytest.fixture
def old(server):
    """Someone whose hash has older parameters."""
    assert server.admin
    user = server.user()
    set_hash(server, user, weak_hash())
    return user


@pytest.fixture
def meanwhile(server, monkeypatch):
    """Let the hash of someone change each time when a login has made a new one."""
    hasher = server.services.get(AUTH).logins._hasher
    made, verified = hasher.hash, hasher.verify
    checks = []

    def change(user, *hashes):
        coming = iter(hashes)

        async def make(password):
            if (phc := next(coming, None)) is not None:
                set_hash(server, user, phc)
            return await made(password)

        async def verify(phc, password):
            checks.append(phc)
            return await verified(phc, password)

        monkeypatch.setattr(hasher, "hash", make)
        monkeypatch.setattr(hasher, "verify", verify)
        return checks

    return change


def test_a_login_renews_a_hash_of_other_parameters(server, old):
    assert login(server, old).status_code == 200
    renewed = hash_of(server, old)
    assert renewed.startswith(PARAMETERS)
    assert login(server, old).status_code == 200
    assert hash_of(server, old) == renewed


def test_logins_that_renew_a_hash_at_once_all_succeed(server, old):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: login(server, old).status_code, range(8)))
    assert answers == [200] * 8
    assert hash_of(server, old).startswith(PARAMETERS)


def test_a_login_that_comes_second_is_checked_against_the_renewed_hash(server, old, meanwhile):
    new = server.run(PasswordHasher().hash, PASSWORD)
    before = hash_of(server, old)
    checks = meanwhile(old, new)
    assert login(server, old).status_code == 200
    assert checks == [before, new]
    assert hash_of(server, old) == new


def test_a_password_that_was_changed_meanwhile_opens_nothing(server, old, meanwhile):
    other = server.run(PasswordHasher().hash, "An0therPass!x")
    meanwhile(old, other)
    assert login(server, old).status_code == 401
    assert hash_of(server, old) == other
    [row] = server.admin.get(
        "/api/v1/audit", params={"app_id": "core", "record_id": old.id, "limit": 1}
    ).json()
    assert row["operation"] == "LOGIN_FAILED"


def test_a_login_is_tried_twice_and_not_for_ever(server, old, meanwhile):
    hashes = [weak_hash() for _ in range(5)]
    checks = meanwhile(old, *hashes)
    assert login(server, old).status_code == 401
    assert len(checks) == 2
    assert hash_of(server, old) == hashes[1]


def test_who_signs_in_by_other_means_is_not_refused_by_a_renewed_hash(server, old, monkeypatch):
    store, sessions = server.services.get(AUTH).logins._store, server.services.get(SESSIONS)
    read = store.account

    async def account(user_id):
        found = await read(user_id)
        if coming:
            set_hash(server, old, coming.pop())
        return found

    monkeypatch.setattr(store, "account", account)
    coming = [weak_hash()]
    assert server.run(sessions.begin, old.id, Actor(user_id=None))
    coming = [weak_hash() for _ in range(5)]
    with pytest.raises(Unauthenticated):
        server.run(sessions.begin, old.id, Actor(user_id=None))
    assert len(coming) == 3


SYMBOLS = "Aa26!15@|{4(37<+$[%890"
"""Each look-alike of letters doubles the readings that zxcvbn tries, or more."""


@pytest.mark.parametrize(
    "password",
    [
        f"{SYMBOLS}7(+838!4601!({{$%00",
        SYMBOLS,
        SYMBOLS + SYMBOLS[:18],
        SYMBOLS[:16] * 2,
        "Aa3401@{5[|+4301@{5[|+" * 2,
        "Aa@{4+08<9!6$1+01+96411{84!14{@$",  # within both bounds
    ],
)
def test_no_password_takes_long_to_estimate(password):
    passwords._is_guessable("Password123")  # reads the lists
    before = time.thread_time()
    passwords._is_guessable(password)
    assert time.thread_time() - before < 3  # 0.1 here; without a bound it takes minutes


@pytest.mark.parametrize("password", ["P@$$w0rd!1", "Aa1234567890", "1q2w3e4r5T", "Abc123" * 5])
def test_what_many_users_choose_is_estimated(password):
    assert passwords._is_guessable(password)


class Estimates:
    """Counts estimates, refuses all, and keeps the threads that they ran on."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def __call__(self, password: str) -> bool:
        self.threads.append(threading.current_thread())
        return True


def test_a_registration_is_counted_before_its_password_is_estimated_once(make_server, monkeypatch):
    limited = {"rate_limit_logins": True, "refuse_common": True}
    server: Server = make_server({"plugins": {"auth": limited}})
    monkeypatch.setattr(passwords, "_is_guessable", estimates := Estimates())
    loop = server.run(_thread)

    def register() -> int:
        body = {"username": "bob", "password": PASSWORD}
        return server.http.post("/api/v1/auth/register", json=body).status_code

    for number in range(1, 31):
        assert register() == 400
        assert len(estimates.threads) == number
    assert register() == 429  # a network has 30 registrations, and what they cost
    assert len(estimates.threads) == 30
    assert loop not in estimates.threads


async def _thread() -> threading.Thread:
    return threading.current_thread()


def test_new_passwords_are_estimated_once_off_the_event_loop(make_server, monkeypatch):
    server: Server = make_server({"plugins": {"auth": {"refuse_common": True}}})
    user = server.user()
    loop = server.run(_thread)
    monkeypatch.setattr(passwords, "_is_guessable", estimates := Estimates())
    change = {"current": user.password, "new": "An0therPass!x"}
    assert user.post("/api/v1/auth/password", json=change).status_code == 400
    new = {"password": "An0therPass!x"}
    assert server.admin.patch(f"/api/v1/users/{user.id}", json=new).status_code == 400
    assert len(estimates.threads) == 2
    assert loop not in estimates.threads


def test_estimates_share_the_places_of_hashes():
    """So the passwords of many clients at once take two threads, and no more of them wait."""
    most = 0
    active = 0
    lock = threading.Lock()

    def estimate(_: str) -> None:
        nonlocal most, active
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.02)
        with lock:
            active -= 1
        raise BadRequest(passwords.TOO_COMMON)

    async def main() -> None:
        hasher = PasswordHasher()

        async def attempt() -> None:
            with pytest.raises(BadRequest):
                await hasher.hash(PASSWORD, check=estimate)

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(attempt)

    anyio.run(main)
    assert most <= 2
