"""Access tokens are cached, in a bounded cache, and never after they were revoked."""

import time

import anyio
import pytest

from kernel.public import Delegation, Unauthenticated
from kernel.testing import FakeNotifications
from kernel.toolkit import cache
from plugins.auth.authenticator import TOPIC, Demands, TokenAuthenticator
from plugins.auth.models import Identified
from plugins.auth.tokens import Tokens

tokens = Tokens(bytes(range(32)))
no_demands = Demands("optional", lambda: None)


class Store:
    """Answers for the sessions that it holds, and counts."""

    def __init__(self):
        self.live = {"s1": "alice", "s2": "bob", "": "carol"}
        self.asked = 0
        self.epochs = []
        self.pause = None

    async def identify(self, user_id, session_id, epoch, app_id):
        self.asked += 1
        self.epochs.append((epoch, app_id) if app_id else epoch)
        name = self.live.get(session_id)
        if self.pause:
            await self.pause()
        return name and Identified(username=name, password_temporary=False, factor=False)


def header(session="s1", user="u1", seconds=900):
    return b"Bearer " + tokens.access(user, "named", session, seconds).encode()


def test_a_token_is_looked_up_once():
    async def main():
        store = Store()
        notifications = FakeNotifications()
        authenticator = TokenAuthenticator(tokens, store, notifications, no_demands)
        sent = header()
        for number in range(50):
            actor = await authenticator.actor(sent, f"r{number}", "192.0.2.1")
            assert (actor.user_id, actor.username, actor.session_id) == ("u1", "alice", "s1")
            assert (actor.request_id, actor.address) == (f"r{number}", "192.0.2.1")
        assert store.asked == 1

    anyio.run(main)


@pytest.mark.parametrize("payload", ["session:s1", "user:u1", None, ""])
def test_a_notification_ends_a_token_at_once(payload):
    async def main():
        store = Store()
        notifications = FakeNotifications()
        authenticator = TokenAuthenticator(tokens, store, notifications, no_demands)
        sent = header()
        await authenticator.actor(sent)
        del store.live["s1"]
        await notifications.notify(TOPIC, payload)
        with pytest.raises(Unauthenticated, match="session revoked"):
            await authenticator.actor(sent)

    anyio.run(main)


@pytest.mark.parametrize("payload", ["session:s2", "user:u2"])
def test_a_notification_of_others_costs_nothing(payload):
    async def main():
        store = Store()
        notifications = FakeNotifications()
        authenticator = TokenAuthenticator(tokens, store, notifications, no_demands)
        sent = header()
        await authenticator.actor(sent)
        await notifications.notify(TOPIC, payload)
        await authenticator.actor(sent)
        assert store.asked == 1

    anyio.run(main)


def test_an_answer_that_is_older_than_the_notification_is_not_cached():
    async def main():
        store = Store()
        notifications = FakeNotifications()
        authenticator = TokenAuthenticator(tokens, store, notifications, no_demands)
        sent = header()

        async def meanwhile():
            store.pause = None
            del store.live["s1"]
            await notifications.notify(TOPIC, "session:s1")

        store.pause = meanwhile
        await authenticator.actor(sent)
        with pytest.raises(Unauthenticated):
            await authenticator.actor(sent)

    anyio.run(main)


def test_a_cached_token_expires(monkeypatch):
    async def main():
        authenticator = TokenAuthenticator(tokens, Store(), FakeNotifications(), no_demands)
        sent = header(seconds=60)
        await authenticator.actor(sent)
        now, monotonic = time.time(), time.monotonic()
        monkeypatch.setattr(time, "time", lambda: now + 61)
        monkeypatch.setattr(cache, "monotonic", lambda: monotonic + 61)
        with pytest.raises(Unauthenticated, match="expired"):
            await authenticator.actor(sent)

    anyio.run(main)


def test_the_cache_is_bounded():
    async def main():
        authenticator = TokenAuthenticator(
            tokens, Store(), FakeNotifications(), no_demands, size=10
        )
        for number in range(30):
            await authenticator.actor(header(user=f"u{number}"))
        assert len(authenticator._cache._entries) == 10

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
            await TokenAuthenticator(tokens, Store(), FakeNotifications(), no_demands).actor(sent)

    anyio.run(main)


def test_a_token_of_no_session_is_for_work_on_a_users_behalf():
    async def main():
        store, now = Store(), int(time.time())
        delegation = Delegation(app_id="crm", expires=now + 60, ends=now + 3600, epoch="7")
        sent = b"Bearer " + tokens.delegated("u1", "named", delegation).encode()
        notifications = FakeNotifications()
        authenticator = TokenAuthenticator(tokens, store, notifications, no_demands)
        for _ in range(2):
            actor = await authenticator.actor(sent)
            assert (actor.username, actor.session_id) == ("carol", None)
            assert actor.delegation == delegation
        assert store.epochs == [("7", "crm")]
        await notifications.notify(TOPIC, "app:other")
        await authenticator.actor(sent)
        assert len(store.epochs) == 1
        await notifications.notify(TOPIC, "app:crm")
        await authenticator.actor(sent)
        assert len(store.epochs) == 2
        assert (await authenticator.actor(header())).delegation is None

    anyio.run(main)
