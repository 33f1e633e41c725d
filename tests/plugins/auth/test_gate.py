"""The memory of tokens: fast, bounded, and never wrong about what has ended."""

import time

import anyio
import pytest

from kernel.public import Delegation, Unauthenticated
from plugins.auth import gate as module
from plugins.auth.gate import Gate
from plugins.auth.tokens import Tokens

tokens = Tokens(bytes(range(32)))


class Store:
    """Answers for the sessions that it holds, and counts."""

    def __init__(self):
        self.live = {"s1": "alice", "s2": "bob", "": "carol"}
        self.asked = 0
        self.epochs = []
        self.pause = None

    async def username(self, user_id, session_id, epoch):
        self.asked += 1
        self.epochs.append(epoch)
        name = self.live.get(session_id)
        if self.pause:
            await self.pause()
        return name


def header(session="s1", user="u1", seconds=900):
    return b"Bearer " + tokens.access(user, "named", session, seconds).encode()


def test_a_token_costs_one_look_and_then_none():
    async def main():
        store = Store()
        gate = Gate(tokens, store)
        sent = header()
        for number in range(50):
            actor = await gate.actor(sent, f"r{number}", "192.0.2.1")
            assert (actor.user_id, actor.username, actor.session_id) == ("u1", "alice", "s1")
            assert (actor.request_id, actor.address) == (f"r{number}", "192.0.2.1")
        assert store.asked == 1

    anyio.run(main)


@pytest.mark.parametrize("news", ["session:s1", "user:u1", None, ""])
def test_news_of_an_end_is_heeded_at_once(news):
    async def main():
        store = Store()
        gate = Gate(tokens, store)
        sent = header()
        await gate.actor(sent)
        del store.live["s1"]
        await gate.hear(news)
        with pytest.raises(Unauthenticated, match="session revoked"):
            await gate.actor(sent)

    anyio.run(main)


@pytest.mark.parametrize("news", ["session:s2", "user:u2"])
def test_news_of_others_costs_nothing(news):
    async def main():
        store = Store()
        gate = Gate(tokens, store)
        sent = header()
        await gate.actor(sent)
        await gate.hear(news)
        await gate.actor(sent)
        assert store.asked == 1

    anyio.run(main)


def test_an_answer_that_is_older_than_the_news_is_not_remembered():
    async def main():
        store = Store()
        gate = Gate(tokens, store)
        sent = header()

        async def meanwhile():
            store.pause = None
            del store.live["s1"]
            await gate.hear("session:s1")

        store.pause = meanwhile
        await gate.actor(sent)
        with pytest.raises(Unauthenticated):
            await gate.actor(sent)

    anyio.run(main)


def test_a_remembered_token_ends_in_its_time(monkeypatch):
    async def main():
        gate = Gate(tokens, Store())
        sent = header(seconds=60)
        await gate.actor(sent)
        now = module.time.time()
        monkeypatch.setattr(module.time, "time", lambda: now + 61)
        with pytest.raises(Unauthenticated, match="expired"):
            await gate.actor(sent)
        assert sent not in gate._known

    anyio.run(main)


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_KNOWN", 10)

    async def main():
        gate = Gate(tokens, Store())
        for number in range(30):
            await gate.actor(header(user=f"u{number}"))
        assert len(gate._known) == 10

    anyio.run(main)


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "bearer {}", "BEARER {}", "Bearer  {}", "Bearer {} ", " Bearer {}",
     "Bearer {} {}", "Bearer {},Bearer {}", "Basic {}", "{}", "Bearer\t{}", "Bearer {}\n",
     "Bearer é{}", "Token {}", "Bearer \"{}\"", "Bearer {}=="],
)  # fmt: skip
def test_only_the_exact_form_is_a_bearer_token(value):
    async def main():
        good = header()
        sent = value.replace("{}", good[7:].decode()).encode()
        with pytest.raises(Unauthenticated):
            await Gate(tokens, Store()).actor(sent)

    anyio.run(main)


def test_a_token_of_no_session_is_for_work_on_a_users_behalf():
    async def main():
        store, now = Store(), int(time.time())
        delegation = Delegation(expires=now + 60, ends=now + 3600, epoch="7")
        sent = b"Bearer " + tokens.delegated("u1", "named", delegation).encode()
        gate = Gate(tokens, store)
        for _ in range(2):
            actor = await gate.actor(sent)
            assert (actor.username, actor.session_id) == ("carol", None)
            assert actor.delegation == delegation
        assert store.epochs == ["7"]
        assert (await gate.actor(header())).delegation is None

    anyio.run(main)
