"""Logins: what is left beside the hash of a password, which is meant to be slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
from nacl.pwhash import argon2id

from plugins.auth.rules.passwords import MEMORY, PASSES

from .figures import Case, Contender, Measured
from .load import request
from .peers.pocketbase import USER, PocketBase
from .peers.program import Peer
from .requests import Http
from .stage import PASSWORD, Stage

CONNECTIONS = 8
SECONDS = 4.0
"""Some take a second each."""


class Hashes:
    """The hash alone, with the server's parameters and on as many threads."""

    name = "the bare hash"

    def measure(self, seconds: float) -> Measured:
        """Check passwords."""
        stored = argon2id.str(PASSWORD.encode(), opslimit=PASSES, memlimit=MEMORY)
        began, used = time.perf_counter(), time.process_time()

        def check() -> int:
            count = 0
            while time.perf_counter() - began < seconds:
                argon2id.verify(stored, PASSWORD.encode())
                count += 1
            return count

        with ThreadPoolExecutor(2) as threads:
            count = sum(each.result() for each in [threads.submit(check) for _ in range(2)])
        took = time.perf_counter() - began
        return Measured(
            rate=count / took, server_cpu=(time.process_time() - used) / count, p50=took / count
        )


def case(stages: Sequence[Stage], by_hand: Peer, pocketbase: PocketBase) -> Case:
    """Ours checks Argon2id of 19 MB, FastAPI's tutorial one of 64 MB, PocketBase bcrypt."""
    account = {"username": "bench", "password": PASSWORD}
    path = "/api/collections/users/auth-with-password"
    user = {"identity": USER, "password": PASSWORD}
    hand, base = by_hand, pocketbase.peer
    others: list[Contender] = [
        Hashes(),
        _http("FastAPI + SQLAlchemy", hand, hand.url, "/login", account, stages[0].database_cpu),
        _http("PocketBase", base, base.url, path, user, None),
    ]
    return Case("login", [ours_of(stage) for stage in stages], others)


def ours_of(stage: Stage) -> Http:
    """Return the logins at our server."""
    account, path = {"username": "bench", "password": PASSWORD}, "/api/v1/auth/login"
    return _http(stage.name, stage, stage.url, path, account, stage.database_cpu)


def _http(
    name: str,
    server: Stage | Peer,
    url: str,
    path: str,
    body: object,
    database: Callable[[], float] | None,
) -> Http:
    raw = [request("POST", url, path, "", msgspec.json.encode(body))]
    return Http(
        name, server, url, lambda: raw, database=database, connections=CONNECTIONS, least=SECONDS
    )
