"""`caudex undo`: changes are looked at, and taken back."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Server

from .support import Author
from .test_data import MANIFEST

PARTS = "/api/v1/apps/goods/collections/parts"


@pytest.fixture
def goods(author: Author, server: Server) -> Author:
    server.install(MANIFEST)
    server.sql("delete from goods.parts")
    return author


def create(server: Server, name: str) -> tuple[dict[str, Any], str]:
    """Create a part, and return it with the id of the request."""
    answer = server.admin.post(PARTS, json={"name": name, "price": 1})
    return answer.json(), answer.headers["x-request-id"]


def test_a_request_is_looked_at_and_taken_back(goods: Author, server: Server) -> None:
    part, request = create(server, "Nut")
    shown = goods.ok("undo", "--app", "goods", "--request", request, "--dry-run").out
    assert "to put back: 1 record;" in shown
    assert "removed" in shown
    assert len(server.admin.get(PARTS).json()) == 1
    undone = goods.json("undo", "--app", "goods", "--request", request)
    assert undone["records"] == [{"entity": "parts", "id": part["id"], "operation": "removed"}]
    assert server.admin.get(PARTS).json() == []


def test_what_a_user_did_since_a_time(goods: Author, server: Server) -> None:
    create(server, "Nut")
    second, _ = create(server, "Bolt")
    words = ("--actor", server.admin.username, "--since", second["created_at"])
    undone = goods.json("undo", "--app", "goods", *words)
    assert undone["undone"] == 1
    assert [part["name"] for part in server.admin.get(PARTS).json()] == ["Nut"]


def test_a_record_goes_back_to_a_time(goods: Author, server: Server) -> None:
    part, _ = create(server, "Nut")
    server.admin.patch(f"{PARTS}/{part['id']}", json={"price": 2})
    words = ("--record", f"parts/{part['id']}", "--to", part["created_at"])
    undone = goods.json("undo", "--app", "goods", *words)
    assert undone["records"][0]["fields"] == ["price"]


def test_conflicts_are_shown_and_left(goods: Author, server: Server) -> None:
    part, request = create(server, "Nut")
    server.admin.patch(f"{PARTS}/{part['id']}", json={"price": 2})
    ended = goods.run("undo", "--app", "goods", "--request", request)
    assert ended.status == 1
    assert "changed later" in ended.out
    assert "nothing was undone" in ended.err
    ended = goods.run("undo", "--app", "goods", "--request", request, "--possible")
    assert ended.status == 1
    assert "put back: 0 records" in ended.out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "is needed"),
        (("--actor", "nil", "--since", "2026-01-01"), "there is no user 'nil'"),
        (("--record", "parts", "--to", "2026-01-01"), "an entity and an id"),
    ],
)
def test_a_wrong_command_is_refused(goods: Author, words: tuple[str, ...], error: str) -> None:
    assert error in goods.refused("undo", "--app", "goods", *words)
