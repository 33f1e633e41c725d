"""Argon2id off the event loop."""

import anyio
import pytest
from nacl.pwhash import argon2id

from kernel.public import Unavailable
from plugins.auth.passwords import MAX_WAITING, PARAMETERS, THREADS, PasswordHasher

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


def test_nobody_has_no_password_that_fits():
    async def main():
        assert not await PasswordHasher().verify(None, PASSWORD)

    anyio.run(main)


def test_other_parameters_are_outdated():
    weak = argon2id.str(PASSWORD.encode(), opslimit=1, memlimit=8192 * 1024).decode()

    async def main():
        hasher = PasswordHasher()
        assert hasher.outdated(weak)
        assert await hasher.verify(weak, PASSWORD)
        assert not hasher.outdated(await hasher.hash(PASSWORD))

    anyio.run(main)


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
            for _ in range(THREADS + MAX_WAITING + 10):
                tasks.start_soon(attempt)
        assert refused == 10
        assert not await hasher.verify(None, PASSWORD)

    anyio.run(main)


def test_whoever_gives_up_waiting_leaves_the_queue():
    async def main():
        hasher = PasswordHasher()
        async with anyio.create_task_group() as tasks:
            for _ in range(MAX_WAITING):
                tasks.start_soon(hasher.verify, None, PASSWORD)
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        async with anyio.create_task_group() as tasks:
            for _ in range(THREADS + MAX_WAITING):
                tasks.start_soon(hasher.verify, None, PASSWORD)

    anyio.run(main)


@pytest.mark.parametrize("phc", ["", "not a hash", "$argon2id$v=19$m=19456,t=2,p=1$"])
def test_a_broken_hash_fits_nothing(phc):
    async def main():
        assert not await PasswordHasher().verify(phc or "x", PASSWORD)

    anyio.run(main)
