"""What a call lends a worker: a token for the call, and none that outlives it by being used."""

import base64
import json
import time

import anyio
import pytest
from msgspec.structs import replace

from kernel.public import IDENTITY, REVOKED_DELEGATIONS, Actor, Delegation, new_delegation
from kernel.testing import FakeIdentity, FakeNotifications, Server
from plugins.workers.replica.callers import Callers
from tests.plugins.workers.support import PYTHON, deployed

NEW = "N3wPassword!"


class Entrusting(FakeIdentity):
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Delegation] = []

    async def issue_delegated_token(self, user_id: str, delegation: Delegation) -> str:
        self.asked.append(delegation)
        return f"token {len(self.asked)}"


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
    issue = identity.issue_delegated_token
    token = workers.run(issue, victim.id, new_delegation(app, 30))  # what is left of a call's
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
        began = time.time()
        ends = began + 1000
        short = Delegation(app_id="x", expires=time.time() + 20, ends=ends, epoch="m")
        long = Delegation(app_id="x", expires=time.time() + 900, ends=ends, epoch="m")
        first = await callers.get_caller(Actor(user_id=user.id), "crm")
        tokens = [
            (
                await callers.get_caller(Actor(user_id=user.id, delegation=delegation), "crm")
            ).auth_token
            for delegation in (short, long, short, long)
        ]
        assert (
            await callers.get_caller(Actor(user_id=user.id), "crm")
        ).auth_token == first.auth_token
        assert tokens == ["token 2", "token 3"] * 2
        new, passed_on, bounded = identity.asked
        assert (new.app_id, new.epoch) == ("crm", "")
        assert passed_on == replace(short, app_id="crm")
        assert (bounded.app_id, bounded.ends, bounded.epoch) == ("crm", ends, "m")
        assert began + 60 < bounded.expires <= time.time() + 65

    anyio.run(main)


@pytest.mark.parametrize("own", [True, False])
def test_a_token_that_was_withdrawn_while_it_was_made_is_not_remembered(own: bool):
    async def main() -> None:
        class Withdrawn(Entrusting):
            async def issue_delegated_token(self, user_id: str, delegation: Delegation) -> str:
                made = await super().issue_delegated_token(user_id, delegation)
                if len(self.asked) == 1:
                    await notifications.notify(REVOKED_DELEGATIONS, user_id if own else None)
                return made

        identity, notifications = Withdrawn(), FakeNotifications()
        user = identity.put("ada")
        callers = Callers(identity, notifications, 30)
        for wanted in ("token 1", "token 2", "token 2"):
            assert (await callers.get_caller(Actor(user_id=user.id), "crm")).auth_token == wanted
        await notifications.notify(REVOKED_DELEGATIONS, "another user")
        assert (await callers.get_caller(Actor(user_id=user.id), "crm")).auth_token == "token 2"

    anyio.run(main)


def test_what_is_remembered_is_bounded():
    async def main() -> None:
        identity, notifications = Entrusting(), FakeNotifications()
        user = identity.put("ada")
        callers = Callers(identity, notifications, 30)
        now = time.time()
        for number in range(2010):
            delegation = Delegation(app_id="x", expires=now + 20 + number, ends=now + 100)
            await callers.get_caller(Actor(user_id=user.id, delegation=delegation), "crm")
        assert len(callers._cache._entries) == 2000

    anyio.run(main)
