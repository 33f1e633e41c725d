"""Argon2id off the event loop, and what becomes of hashes that have older parameters."""

from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from nacl.pwhash import argon2id

from kernel.public import SESSIONS, Actor, Unauthenticated, Unavailable
from plugins.auth.passwords import MAX_WAITING, PARAMETERS, PasswordHasher
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
        assert hasher.outdated(weak)
        assert await hasher.verify(weak, PASSWORD)
        assert not hasher.outdated(await hasher.hash(PASSWORD))

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
