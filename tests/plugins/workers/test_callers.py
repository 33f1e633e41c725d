"""What a call lends a worker: a token for the call, and none that outlives it by being used."""

import base64
import json
import time

import anyio
import pytest

from kernel.public import IDENTITY, REVOKED, Actor, Delegation
from kernel.testing import FakeIdentity, FakeNotifications, Server
from plugins.workers.replica.callers import Callers
from tests.plugins.workers.support import PYTHON, deployed

NEW = "N3wPassword!"


class Entrusting(FakeIdentity):
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Delegation | None] = []

    async def token(self, user_id: str, seconds: float) -> str:
        self.asked.append(None)
        return f"new {len(self.asked)}"

    async def issue_delegated_token(self, user_id: str, delegation: Delegation) -> str:
        self.asked.append(delegation)
        return f"entrusted {len(self.asked)}"


def call(server: Server, app: str, token: str):
    return server.http.post(
        f"/api/v1/apps/{app}/rpc",
        json={"method": "whoami"},
        headers={"authorization": f"Bearer {token}"},
    )


def expires(token: str) -> int:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]


def test_a_worker_that_calls_itself_as_its_caller_has_no_longer(workers: Server):
    app = deployed(workers, {"worker.py": PYTHON})
    victim = workers.user()
    workers.assign(victim, app, "admin")
    identity = workers.services.get(IDENTITY)
    token = workers.run(identity.token, victim.id, 30)  # what is left of a call's
    for _ in range(3):
        answer = call(workers, app, token)
        assert answer.status_code == 200, answer.text
        handed_on = answer.json()["authToken"]
        assert expires(handed_on) <= expires(token)
        token = handed_on


def test_a_worker_has_a_new_token_right_after_a_new_password(workers: Server):
    app = deployed(workers, {"worker.py": PYTHON})
    victim = workers.user()
    workers.assign(victim, app, "admin")
    rpc = f"/api/v1/apps/{app}/rpc"
    before = victim.post(rpc, json={"method": "whoami"}).json()["authToken"]
    assert call(workers, app, before).status_code == 200
    change = {"current": victim.password, "new": NEW}
    assert victim.post("/api/v1/auth/password", json=change).status_code == 200
    assert call(workers, app, before).status_code == 401
    after = victim.post(rpc, json={"method": "whoami"}).json()["authToken"]
    assert call(workers, app, after).status_code == 200


def test_what_is_remembered_for_a_user_is_for_the_user_alone():
    """Not for a worker that acts for them, and not longer than its own token."""

    async def main() -> None:
        identity, notifications = Entrusting(), FakeNotifications()
        user = identity.put("ada")
        callers = Callers(identity, notifications, 30)
        ends = time.time() + 1000
        short = Delegation(expires=time.time() + 20, ends=ends, epoch="m")
        long = Delegation(expires=time.time() + 900, ends=ends, epoch="m")
        first = await callers.of(Actor(user_id=user.id))
        tokens = [
            (await callers.of(Actor(user_id=user.id, delegation=delegation))).auth_token
            for delegation in (short, long, short, long)
        ]
        assert (await callers.of(Actor(user_id=user.id))).auth_token == first.auth_token
        assert tokens == ["entrusted 2", "entrusted 3"] * 2
        assert identity.asked[0] is None
        _, passed_on, bounded = identity.asked
        assert passed_on == short
        assert bounded is not None
        assert (bounded.ends, bounded.epoch) == (ends, "m")
        assert time.time() + 60 < bounded.expires <= time.time() + 65

    anyio.run(main)


def test_a_provider_that_knows_no_mandates_is_asked_for_what_is_left():
    async def main() -> None:
        asked: list[float] = []

        class Former(FakeIdentity):
            async def token(self, user_id: str, seconds: float) -> str:
                asked.append(seconds)
                return "t"

        identity, notifications = Former(), FakeNotifications()
        user = identity.put("ada")
        now = time.time()
        delegation = Delegation(expires=now + 20, ends=now + 100)
        caller = await Callers(identity, notifications, 30).of(
            Actor(user_id=user.id, delegation=delegation)
        )
        assert caller.auth_token == "t"
        assert 15 < asked[0] <= 20

    anyio.run(main)


@pytest.mark.parametrize("own", [True, False])
def test_a_token_that_was_withdrawn_while_it_was_made_is_not_remembered(own: bool):
    async def main() -> None:
        class Withdrawn(Entrusting):
            async def token(self, user_id: str, seconds: float) -> str:
                made = await super().token(user_id, seconds)
                if len(self.asked) == 1:
                    await notifications.notify(REVOKED, user_id if own else None)
                return made

        identity, notifications = Withdrawn(), FakeNotifications()
        user = identity.put("ada")
        callers = Callers(identity, notifications, 30)
        for wanted in ("new 1", "new 2", "new 2"):
            assert (await callers.of(Actor(user_id=user.id))).auth_token == wanted
        await notifications.notify(REVOKED, "somebody else")
        assert (await callers.of(Actor(user_id=user.id))).auth_token == "new 2"

    anyio.run(main)


def test_what_is_remembered_is_bounded():
    async def main() -> None:
        identity, notifications = Entrusting(), FakeNotifications()
        user = identity.put("ada")
        callers = Callers(identity, notifications, 30)
        now = time.time()
        for number in range(2010):
            delegation = Delegation(expires=now + 20 + number, ends=now + 100)
            await callers.of(Actor(user_id=user.id, delegation=delegation))
        assert len(callers._cache) == 2000

    anyio.run(main)
