"""The rules alone: no server, no database, fakes for the services."""

from __future__ import annotations

from typing import cast

import anyio
import pytest
from caudex import Actor, Statements
from kernel.testing import FakeAccess

from caudex_sample.config import NotesConfig
from caudex_sample.errors import NotYours
from caudex_sample.service import NotesService


@pytest.fixture
def access() -> FakeAccess:
    """Rights of the users of these tests."""
    access = FakeAccess()
    access.allow("root", "core", "*")
    return access


@pytest.fixture
def service(access: FakeAccess) -> NotesService:
    """The service without a database: these rules ask none."""
    return NotesService(cast("Statements", None), access, NotesConfig())


@pytest.mark.parametrize(("user", "author"), [("ada", "ada"), ("root", "ada"), ("root", None)])
def test_a_note_is_its_authors_and_the_admins(
    service: NotesService, user: str, author: str | None
) -> None:
    anyio.run(service.check_owner, Actor(user_id=user), author)


@pytest.mark.parametrize(("user", "author"), [("bob", "ada"), ("bob", None), (None, None)])
def test_a_note_belongs_to_no_other_user(
    service: NotesService, user: str | None, author: str | None
) -> None:
    with pytest.raises(NotYours):
        anyio.run(service.check_owner, Actor(user_id=user), author)
