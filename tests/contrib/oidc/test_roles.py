"""Roles of a claim beside an ACCESS that is not the built-in one, and says things its own way."""

import pytest

from contrib.oidc.models import Granted
from contrib.oidc.roles import ClaimedRoles
from kernel.public import Assignment, BadRequest, Effective, NotFound

USER, OTHER = "3fa85f64-5717-4562-b3fc-2c963f66afa6", "00000000-0000-4000-8000-000000000001"
WRITER, ADMIN = Granted("crm", "writer"), Granted("crm", "admin")

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Elsewhere:
    """An ACCESS with assignments in memory; core admins hold `admin` of every app besides."""

    def __init__(self, *held, core_admin=False):
        self.apps = {"core", "crm"}
        self.held = {(USER, role) for role in held} | {(OTHER, WRITER)}
        self.core_admin = core_admin
        self.refusal = None
        self.lists = 0

    def _known(self, app_id):
        if app_id not in self.apps:
            raise NotFound("what is that, which does not hold water?")

    async def effective(self, user_id, app_id):
        self._known(app_id)
        roles = {role.role for who, role in self.held if who == user_id and role.app_id == app_id}
        return Effective(sorted(roles | ({"admin"} if self.core_admin else set())), [])

    async def assignments(self, app_id):
        self._known(app_id)
        self.lists += 1
        return [
            Assignment(user_id=who, role=role.role, assigned_at="")
            for who, role in self.held
            if role.app_id == app_id
        ]

    async def assign(self, actor, app_id, user_id, role):
        self._known(app_id)
        self.held.add((user_id, Granted(app_id, role)))

    async def revoke(self, actor, app_id, user_id, role):
        self._known(app_id)
        if self.refusal is not None:
            raise self.refusal
        if (user_id, Granted(app_id, role)) not in self.held:
            raise NotFound("no provider gave that")
        self.held.remove((user_id, Granted(app_id, role)))

    def of_user(self):
        return {role for who, role in self.held if who == USER}


class Notes:
    """What claims gave, in memory."""

    def __init__(self, *roles):
        self.roles = set(roles)

    async def list_granted(self, user_id):
        return list(self.roles)

    async def remember(self, user_id, role):
        self.roles.add(role)

    async def forget(self, user_id, role):
        self.roles.discard(role)


async def sign_in(access, notes, *values):
    rules = {"writers": ["crm:writer"], "bosses": ["crm:admin"], "lost": ["gone:x"]}
    await ClaimedRoles(rules, notes, lambda: access).update(USER, set(values))


async def test_a_role_comes_and_goes():
    access, notes = Elsewhere(), Notes()
    await sign_in(access, notes, "writers", "lost")
    assert access.of_user() == notes.roles == {WRITER}
    assert access.lists == 0  # that could be long, and no one had to know
    await sign_in(access, notes)
    assert access.of_user() == notes.roles == set()


async def test_a_role_that_another_took_is_forgotten():
    access, notes = Elsewhere(), Notes(WRITER)
    await sign_in(access, notes)
    assert notes.roles == set()


async def test_a_role_of_an_app_that_is_gone_is_forgotten():
    access, notes = Elsewhere(), Notes(WRITER)
    access.apps.remove("crm")
    await sign_in(access, notes)
    assert notes.roles == set()


@pytest.mark.parametrize("error", [BadRequest, NotFound])
async def test_a_role_that_cannot_be_taken_is_tried_again_at_the_next_sign_in(error):
    access, notes = Elsewhere(WRITER), Notes(WRITER)
    access.refusal = error("this does not hold for the last one")
    await sign_in(access, notes)
    assert access.of_user() == notes.roles == {WRITER}
    access.refusal = None
    await sign_in(access, notes)
    assert access.of_user() == notes.roles == set()


async def test_what_an_admin_gave_stays_the_admins():
    access, notes = Elsewhere(WRITER), Notes()
    await sign_in(access, notes, "writers")
    assert notes.roles == set()
    await sign_in(access, notes)
    assert access.of_user() == {WRITER}


async def test_a_core_admin_is_given_and_loses_what_the_claim_says():
    access, notes = Elsewhere(core_admin=True), Notes()
    await sign_in(access, notes, "bosses")
    assert access.of_user() == notes.roles == {ADMIN}
    access.held.remove((USER, ADMIN))
    await sign_in(access, notes)
    assert notes.roles == set()
