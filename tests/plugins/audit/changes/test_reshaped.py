"""Of random updates of an app, older changes are read with the fields of today."""

from __future__ import annotations

import itertools
import json
import threading
from random import Random
from typing import Any

import pytest

from kernel.public import CHANGES, BadRequest, ChangesPage, CommittedChange
from kernel.testing import MakeServer, Server

TYPES = ("text", "number", "json", "boolean", "date", "[text]")
VALUES: dict[str, list[Any]] = {
    "text": ["7", "true", "2024-05-06", "ä", None],
    "number": [7, 0.5, -1e30, None],
    "json": [{"a": [1]}, "7", [], {"length": 3, "sha256": "x"}, None],
    "boolean": [True, False, None],
    "date": ["2024-05-06", None],
    "[text]": [["a", "b"], [], None],
}
_names = itertools.count(1)


class RandomApp:
    """An app of one entity, whose fields and names change at random."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._chance = Random(seed)
        self.app_id = f"random{next(_names)}"
        self.entity = "things"
        self._was: list[str] = []
        self.fields = {"key": "text", "first": "text"}
        self._former: dict[str, str] = {}
        self.install()

    def install(self) -> None:
        fields = [{"name": name, "type": type_} for name, type_ in self.fields.items()]
        for field in fields:
            if field["name"] in self._former:
                field["was"] = self._former[field["name"]]
        entity: dict[str, Any] = {"entityName": self.entity, "fields": fields}
        if self._was:
            entity["was"] = self._was[-1]
        self._server.install({"appId": self.app_id, "name": "x", "dataContract": [entity]})
        self._former = {}
        self._was = []

    def update(self) -> None:
        """Install another manifest."""
        others = [name for name in self.fields if name != "key"]
        kind = self._chance.choice(("add", "rename", "remove", "retype", "rename entity"))
        new_name = f"name_{next(_names)}"
        if kind == "add" or not others:
            self.fields[new_name] = self._chance.choice(TYPES)
        elif kind == "rename":
            former = self._chance.choice(others)
            self.fields[new_name] = self.fields.pop(former)
            self._former[new_name] = former
        elif kind == "remove":
            del self.fields[self._chance.choice(others)]
        elif kind == "retype":
            name = self._chance.choice(others)
            self._server.sql(f"update {self.app_id}.{self.entity} set {name} = null")
            self.fields[name] = self._chance.choice(TYPES)
        else:
            self._was = [self.entity]
            self.entity = new_name
        self.install()

    def write(self) -> None:
        """Create, change or delete a record."""
        path = f"/api/v1/apps/{self.app_id}/collections/{self.entity}"
        rows = self._server.sql(f"select id::text from {self.app_id}.{self.entity}")
        body = {name: self._chance.choice(VALUES[type_]) for name, type_ in self.fields.items()}
        if not rows or self._chance.random() < 0.4:
            answer = self._server.admin.post(path, json=body)
        else:
            [record_id] = self._chance.choice(rows)
            if self._chance.random() < 0.2:
                answer = self._server.admin.delete(f"{path}/{record_id}")
            else:
                answer = self._server.admin.patch(f"{path}/{record_id}", json=body)
        assert answer.status_code in (200, 201), answer.text

    def insert(self, key: str) -> None:
        """Create a record by SQL."""
        self._server.sql(f"insert into {self.app_id}.{self.entity} (key) values (%s)", key)

    def read(self, position: str, limit: int) -> ChangesPage:
        changes = self._server.services.get(CHANGES)
        subjects = [f"{self.app_id}.{self.entity}"]
        return self._server.run(lambda: changes.read(position, subjects, limit, reshape=True))

    def read_all(self, position: str, limit: int) -> list[CommittedChange]:
        received: list[CommittedChange] = []
        page = self.read(position, limit)
        while True:
            assert page.lost is None
            received += page.changes
            if page.complete:
                return received
            page = self.read(page.position, limit)

    def shown(self, record: bytes | None) -> dict[str, Any] | None:
        """Return the fields of today of a record of a change."""
        if record is None:
            return None
        members = json.loads(record)
        return {name: members[name] for name in self.fields}

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the records of today."""
        rows = self._server.sql(f"select id::text, to_jsonb(t) from {self.app_id}.{self.entity} t")
        return {row_id: {name: row[name] for name in self.fields} for row_id, row in rows}


@pytest.mark.parametrize("seed", range(6))
def test_older_changes_have_the_fields_of_today(make_server: MakeServer, seed: int) -> None:
    server = make_server()
    for number in range(2):
        app = RandomApp(server, 10 * seed + number)
        chance = Random(seed)
        begin = server.run(server.services.get(CHANGES).now)
        for _ in range(8):
            for _ in range(chance.randrange(6)):
                app.write()
            app.update()
        app.write()

        changes = app.read_all(begin, chance.choice((1, 3, 1000)))
        [(count,)] = server.sql(
            "select count(*) from caudex_audit.log where table_schema = %s"
            " and operation in ('INSERT', 'UPDATE', 'DELETE')",
            app.app_id,
        )
        assert len({change.id for change in changes}) == len(changes) == count
        states: dict[str, Any] = {}
        for change in changes:
            assert change.entity == app.entity
            assert states.get(change.record_id) == app.shown(change.old)
            states[change.record_id] = app.shown(change.new)
        present = {record_id: state for record_id, state in states.items() if state is not None}
        assert present == app.rows()


def test_another_entity_that_has_the_name_now_is_not_mixed_up(make_server: MakeServer) -> None:
    server = make_server()
    changes = server.services.get(CHANGES)
    fields = [{"name": "name", "type": "text"}]
    position = server.run(changes.now)
    server.install(
        {
            "appId": "swapped",
            "name": "x",
            "dataContract": [{"entityName": "things", "fields": fields}],
        }
    )
    position = server.run(changes.now)
    server.sql("insert into swapped.things (name) values ('of the old ones')")
    server.install(
        {
            "appId": "swapped",
            "name": "x",
            "dataContract": [{"entityName": "items", "was": "things", "fields": fields}],
        }
    )
    server.install(
        {
            "appId": "swapped",
            "name": "x",
            "dataContract": [
                {"entityName": "items", "fields": fields},
                {"entityName": "things", "fields": fields},
            ],
        }
    )
    server.sql("insert into swapped.things (name) values ('of the new ones')")

    def names(*subjects: str) -> list[tuple[str, str]]:
        page = server.run(lambda: changes.read(position, subjects, reshape=True))
        assert page.lost is None
        return [(change.entity, json.loads(change.new or b"")["name"]) for change in page.changes]

    assert names("swapped.things") == [("things", "of the new ones")]
    assert names("swapped.items") == [("items", "of the old ones")]
    assert names("swapped.items", "swapped.things") == [
        ("items", "of the old ones"),
        ("things", "of the new ones"),
    ]


def test_a_value_over_1_mb_keeps_its_digest_and_is_found(make_server: MakeServer) -> None:
    server = make_server()
    changes = server.services.get(CHANGES)
    fields = [{"name": "text", "type": "text"}]
    manifest = {"appId": "large", "name": "x"}
    server.install({**manifest, "dataContract": [{"entityName": "notes", "fields": fields}]})
    position = server.run(changes.now)
    server.sql("insert into large.notes (text) values (repeat('x', 1200000))")
    fields = [{"name": "body", "type": "text", "was": "text"}]
    server.install({**manifest, "dataContract": [{"entityName": "notes", "fields": fields}]})
    page = server.run(lambda: changes.read(position, ["large.notes"], reshape=True))
    [change] = page.changes
    assert change.replaced == ("body",)
    filled = server.run(changes.fill, change)
    assert (len(json.loads(filled.new or b"")["body"]), filled.replaced) == (1_200_000, ())


def test_without_it_a_change_of_fields_is_a_loss(make_server: MakeServer) -> None:
    server = make_server()
    app = RandomApp(server, 1)
    changes = server.services.get(CHANGES)
    position = server.run(changes.now)
    app.write()
    app.update()
    page = server.run(changes.read, position, [f"{app.app_id}.{app.entity}"])
    assert page.lost == "entity changed"
    with pytest.raises(BadRequest):
        app.read("no position", 10)


def test_pages_of_a_reader_that_follows_have_the_fields_of_their_time(
    make_server: MakeServer,
) -> None:
    """Installs and writes while a reader follows: each write comes once, in order."""
    server = make_server()
    app = RandomApp(server, 3)
    changes = server.services.get(CHANGES)
    begin = server.run(changes.now)

    async def follow() -> list[CommittedChange]:
        received: list[CommittedChange] = []
        subjects = [f"{app.app_id}.things"]
        async with changes.follow(subjects, begin, reshape=True) as pages:
            async for page in pages:
                assert page.lost is None
                received += page.changes
                if received and json.loads(received[-1].new or b"{}").get("key") == "last":
                    return received
        return received

    results: list[Any] = []
    reader = threading.Thread(target=lambda: results.append(server.run(follow)), daemon=True)
    reader.start()
    for number in range(40):
        app.insert(str(number))
        if number % 8 == 7:
            app.fields[f"added_{number}"] = "text"
            app.install()
    app.insert("last")
    reader.join(60)
    [received] = results
    keys = [json.loads(change.new)["key"] for change in received]
    assert keys == [*map(str, range(40)), "last"]
