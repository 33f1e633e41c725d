"""The promises of CHANGES."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from random import Random
from typing import Any

import anyio
import psycopg
import pytest
from psycopg import sql

from kernel.contracts.trail.changes import CHANGES, MAX_POSITION, ChangesPage, CommittedChange
from kernel.errors import BadRequest
from kernel.testing import Server
from kernel.testing.conformance.kit import PATIENCE, Conformance, body_of, install, remove, unique

FIELDS = [{"name": "name", "type": "text"}, {"name": "data", "type": "json"}]
NEW_FIELD = {"name": "size", "type": "number"}
ENTITIES = ("runs", "laps")
INSERT = sql.SQL("insert into {}.runs (name) values (%s) returning id")
UPDATE = sql.SQL("update {}.runs set name = %s where id = %s")
INSERT_AND_DELETE = sql.SQL(
    "insert into {}.runs (name) values ('no more'); delete from {}.runs where name = 'no more'"
)
COUNT_AND_SNAPSHOT = sql.SQL("select (select count(*) from {}.runs), {}")
NO_POSITIONS = ["", "0", "now", "x" * 40, "A" * 4001, "../../etc", "a b", "Ä" * 20, "-1", "\0" * 20]


class ChangesConformance(Conformance):
    """Changes: none is missed, none comes twice, and those of one record come in their order."""

    key = CHANGES

    @pytest.fixture
    def app(self, server: Server) -> App:
        """Install an app for one test."""
        return App(server)

    # What a change says

    def test_an_insert_an_update_and_a_delete_come_in_order(self, app: App) -> None:
        position = app.now()
        record_id = app.create("one")
        app.rename(record_id, "two")
        app.delete(record_id)
        created, changed, deleted = app.read_all(position)
        assert [change.operation for change in (created, changed, deleted)] == [
            "INSERT",
            "UPDATE",
            "DELETE",
        ]
        assert {change.record_id for change in (created, changed, deleted)} == {record_id}
        assert (created.old, deleted.new) == (None, None)
        assert [name_of(created.new), name_of(changed.new)] == ["one", "two"]
        assert [values(changed.old), values(deleted.old)] == [
            values(created.new),
            values(changed.new),
        ]

    def test_a_change_names_its_caller_and_its_request(self, app: App) -> None:
        position = app.now()
        request = unique("r-")
        app.create("x", headers={"x-request-id": request})
        [change] = app.read_all(position)
        assert (change.actor, change.request) == (app.user_id, request)
        assert (change.owner_before, change.owner_after) == (None, app.user_id)
        assert change.at.endswith("Z")

    def test_a_record_that_is_handed_over_has_both_owners(self, app: App) -> None:
        record_id = app.create("x")
        position = app.now()
        app.sql("update {}.runs set _owner = null where id = %s", record_id)
        [change] = app.read_all(position)
        assert (change.owner_before, change.owner_after) == (app.user_id, None)

    def test_several_changes_of_a_record_in_one_transaction_are_one(self, app: App) -> None:
        record_id = app.create("one")
        position = app.now()
        with psycopg.connect(app.dsn) as connection:
            for name in ("two", "three"):
                connection.execute(app.update, [name, record_id])
            connection.execute(app.insert_and_delete)
        [change] = app.read_all(position)
        assert (name_of(change.old), name_of(change.new)) == ("one", "three")

    def test_a_value_that_the_trail_replaced_is_filled_while_the_table_has_it(
        self, app: App
    ) -> None:
        position = app.now()
        large = "x" * 1_200_000
        record_id = app.create(large)
        [change] = app.read_all(position)
        filled = app.fill(change)
        assert (name_of(filled.new), filled.replaced) == (large, ())
        app.rename(record_id, "small")
        if change.replaced:
            assert app.fill(change).replaced == ("name",)

    # What is missed, what comes twice

    def test_a_transaction_that_commits_late_is_not_missed(self, app: App) -> None:
        reader = app.read_on()
        with psycopg.connect(app.dsn) as late:
            late.execute(app.insert, ["late"])
            app.create("early")
            assert reader.names() == ["early"]
            late.execute(app.insert, ["late, too"])
        assert reader.names() == ["late", "late, too"]
        assert reader.names() == []

    def test_a_reader_waits_for_no_open_transaction(self, app: App) -> None:
        reader = app.read_on()
        with psycopg.connect(app.dsn) as long:
            long.execute(app.insert, ["long"])
            for number in range(5):
                app.create(str(number))
            assert reader.names() == ["0", "1", "2", "3", "4"]
            long.rollback()

    def test_a_change_never_comes_before_the_one_that_it_was_made_on(self, app: App) -> None:
        """The first to write changes what the last has made, while another one stays open."""
        reader = app.read_on()
        with ExitStack() as stack:
            early, long, late = (stack.enter_context(psycopg.connect(app.dsn)) for _ in range(3))
            early.execute(app.insert, ["by the first"])
            long.execute(app.insert, ["open"])
            [(record_id,)] = late.execute(app.insert, ["made"]).fetchall()
            late.commit()
            early.execute(app.update, ["changed", record_id])
            early.commit()
            assert reader.find_breaks() == []
            long.rollback()

    @pytest.mark.parametrize("seed", range(3))
    def test_of_random_transactions_none_is_missed_and_none_comes_twice(
        self, app: App, seed: int
    ) -> None:
        chance = Random(seed)
        begin = app.now()
        reader = app.read_on(begin)
        marks: list[tuple[str, int]] = []
        count = 0
        with ExitStack() as stack:
            sessions = [stack.enter_context(psycopg.connect(app.dsn)) for _ in range(4)]
            for step in range(60):
                session = chance.choice(sessions)
                if chance.random() < 0.5:
                    session.execute(app.insert, [str(step)])
                    count += 1
                else:
                    session.commit()
                if chance.random() < 0.4:
                    reader.read(chance.choice((1, 2, 100)))
                    marks.append((reader.position, len(reader.received)))
            for session in sessions:
                session.commit()
        reader.read_rest(chance.choice((1, 3, 100)))
        ids = [change.id for change in reader.received]
        assert len(set(ids)) == len(ids) == count
        inner = [(change.position, number + 1) for number, change in enumerate(reader.received)]
        for position, number in [(begin, 0), *chance.sample(marks, 5), *chance.sample(inner, 5)]:
            rest = [change.id for change in app.read_all(position)]
            assert sorted(rest) == sorted(ids[number:])

    def test_a_transaction_comes_whole_where_pages_end_within_it(self, app: App) -> None:
        position = app.now()
        app.sql("insert into {}.runs (name) select n::text from generate_series(1, 25) as n")
        received = app.read_all(position, limit=4)
        assert [name_of(change.new) for change in received] == [str(n) for n in range(1, 26)]
        assert len({change.transaction for change in received}) == 1

    # Positions

    def test_only_subjects_that_are_asked_for_come(self, app: App) -> None:
        other = App(app.server)
        position = app.now()
        app.create("mine")
        app.sql("insert into {}.laps (name) values ('of another entity')")
        other.create("of another app")
        assert [name_of(change.new) for change in app.read_all(position)] == ["mine"]
        both = [f"{app.app_id}.runs", f"{app.app_id}.laps"]
        assert len(app.read_all(position, subjects=both)) == 2
        assert app.read_all(position, subjects=[]) == []

    def test_a_position_is_good_at_every_server(self, app: App, second: Server) -> None:
        position = app.now()
        app.create("x")
        there = App(second, app.app_id)
        [change] = there.read_all(position)
        assert name_of(change.new) == "x"
        app.create("y")
        assert [name_of(later.new) for later in app.read_all(change.position)] == ["y"]
        assert [name_of(later.new) for later in there.read_all(change.position)] == ["y"]

    def test_positions_have_a_form(self, app: App) -> None:
        position = app.now()
        app.create("x")
        app.create("y")
        page = app.read(position, 1)
        for text in (position, page.position, page.changes[0].position):
            assert len(text) <= MAX_POSITION
            assert text.replace("-", "").replace("_", "").isalnum()
            assert text.isascii()
            app.check(text)

    @pytest.mark.parametrize("text", NO_POSITIONS, ids=range(len(NO_POSITIONS)))
    def test_other_texts_are_refused(self, app: App, text: str) -> None:
        with pytest.raises(BadRequest):
            app.check(text)
        with pytest.raises(BadRequest):
            app.read(text)

    def test_a_cut_position_is_refused(self, app: App) -> None:
        position = app.now()
        for text in (position[:-4], position[4:], position + "AAAA"):
            with pytest.raises(BadRequest):
                app.check(text)

    def test_what_a_statement_sees_is_a_position(self, app: App) -> None:
        app.create("seen")
        with psycopg.connect(app.dsn) as late, psycopg.connect(app.dsn) as reading:
            late.execute(app.insert, ["late"])
            [(count, snapshot)] = reading.execute(app.count_and_snapshot).fetchall()
            app.create("after")
        position = app.position_of(snapshot)
        names = [name_of(change.new) for change in app.read_all(position)]
        assert (count, sorted(names)) == (1, ["after", "late"])

    # Losses

    def test_history_begins_at_the_apps_own_install(self, app: App) -> None:
        position = app.now()
        app.create("of the former app")
        remove(app.server, app.app_id)
        later = App(app.server, install_as=app.app_id)
        later.create("of the new app")
        page = later.read(position)
        assert (page.lost, list(page.changes)) == ("too old", [])
        assert later.read_all(page.position) == []

    def test_changed_fields_are_a_loss_once(self, app: App) -> None:
        position = app.now()
        app.create("x")
        app.update_manifest([*FIELDS, {"name": "size", "type": "number"}])
        page = app.read(position)
        assert page.lost == "entity changed"
        app.create("y")
        assert [name_of(change.new) for change in app.read_all(page.position)] == ["y"]

    def test_reshaped_changes_have_the_fields_of_today(self, app: App) -> None:
        position = app.now()
        record_id = app.create("1")
        app.sql("update {}.runs set data = '[1]' where id = %s", record_id)
        app.update_manifest([{"name": "title", "type": "text", "was": "name"}, NEW_FIELD])
        app.sql("update {}.runs set title = '2' where id = %s", record_id)
        changes = app.read_all(position, reshape=True)
        assert [values(change.new)["title"] for change in changes] == ["1", "1", "2"]
        assert values(changes[1].old)["title"] == "1"
        assert all(values(change.new)["size"] is None for change in changes)
        assert not any("name" in values(change.new) for change in changes)
        assert app.read(position, reshape=True).reshaped
        assert not app.read(app.now(), reshape=True).reshaped
        for number, change in enumerate(changes, start=1):
            rest = [later.id for later in app.read_all(change.position, reshape=True)]
            assert rest == [later.id for later in changes[number:]]

    def test_a_value_that_the_type_of_today_does_not_take_is_null(self, app: App) -> None:
        position = app.now()
        record_id = app.create("many")
        app.rename(record_id, "7")
        app.update_manifest([{"name": "name", "type": "number"}])
        numbers = [name_of(change.new) for change in app.read_all(position, reshape=True)]
        assert numbers == [None, 7]

    def test_reshaped_changes_of_a_renamed_entity_have_its_name(self, app: App) -> None:
        position = app.now()
        app.create("x")
        app.rename_entity("ways")
        app.sql("insert into {}.ways (name) values ('y')")
        changes = app.read_all(position, subjects=[f"{app.app_id}.ways"], reshape=True)
        assert [change.entity for change in changes] == ["ways", "ways"]
        assert [name_of(change.new) for change in changes] == ["x", "y"]

    def test_a_follower_reads_on_over_a_change_of_fields(self, app: App) -> None:
        position = app.now()

        def act() -> None:
            app.create("one")
            app.update_manifest([*FIELDS, NEW_FIELD])
            app.create("two")

        followed = app.follow(position, 2, act, reshape=True)
        assert [name_of(change.new) for change in followed] == ["one", "two"]

    def test_a_table_that_was_emptied_at_once_is_a_loss(self, app: App) -> None:
        app.create("x")
        position = app.now()
        app.sql("truncate {}.runs")
        assert app.read(position).lost == "trail was off"

    # Live

    def test_a_follower_gets_what_it_missed_and_what_comes(self, app: App) -> None:
        position = app.now()
        app.create("missed")
        followed = app.follow(position, 3, lambda: [app.create("one"), app.create("two")])
        assert [name_of(change.new) for change in followed] == ["missed", "one", "two"]
        for number, change in enumerate(followed, start=1):
            rest = [later.id for later in app.read_all(change.position)]
            assert rest == [later.id for later in followed[number:]]

    def test_a_follower_of_now_gets_nothing_of_before(self, app: App) -> None:
        app.create("before")
        followed = app.follow(None, 1, lambda: [app.create("after")])
        assert [name_of(change.new) for change in followed] == ["after"]

    def test_a_follower_hears_of_other_servers(self, app: App, second: Server) -> None:
        there = App(second, app.app_id)
        followed = app.follow(None, 1, lambda: [there.create("from there")])
        assert [name_of(change.new) for change in followed] == ["from there"]


def values(record: bytes | None) -> Any:
    """Return a record as it is compared: the JSON may be written in several ways."""
    return None if record is None else json.loads(record)


def name_of(record: bytes | None) -> Any:
    """Return the name in a record."""
    return values(record)["name"]


class App:
    """An app of two entities, and the engine of one server."""

    def __init__(self, server: Server, app_id: str = "", *, install_as: str = "") -> None:
        self.server = server
        self.dsn = server.dsn
        self._run = server.run
        self._engine = server.services.get(CHANGES)
        self._admin = server.admin if not app_id else server.login("admin")
        self.app_id = app_id or install(self._admin, install_as, dataContract=_contract(FIELDS))
        self.user_id = self._admin.id
        self._records = f"/api/v1/apps/{self.app_id}/collections/runs"
        schema = sql.Identifier(self.app_id)
        self.insert = INSERT.format(schema)
        self.update = UPDATE.format(schema)
        self.insert_and_delete = INSERT_AND_DELETE.format(schema, schema)
        expression = self._engine.snapshot_expression
        if isinstance(expression, bytes):
            expression = expression.decode()
        self.count_and_snapshot = COUNT_AND_SNAPSHOT.format(
            schema,
            sql.SQL(expression),  # type: ignore[arg-type] - of the engine
        )

    def update_manifest(self, fields: Sequence[Any]) -> None:
        install(self._admin, self.app_id, dataContract=_contract(fields))

    def rename_entity(self, name: str) -> None:
        contract = _contract(FIELDS)
        contract[0] = {**contract[0], "entityName": name, "was": contract[0]["entityName"]}
        install(self._admin, self.app_id, dataContract=contract)

    def create(self, name: str, **options: Any) -> str:
        answer = self._admin.post(self._records, json={"name": name}, **options)
        return body_of(answer, 201)["id"]

    def rename(self, record_id: str, name: str) -> None:
        body_of(self._admin.patch(f"{self._records}/{record_id}", json={"name": name}))

    def delete(self, record_id: str) -> None:
        body_of(self._admin.delete(f"{self._records}/{record_id}"))

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement in which `{}` is the app."""
        return self.server.sql(query.format(self.app_id), *params)

    def now(self) -> str:
        return self._run(self._engine.now)

    def check(self, position: str) -> None:
        self._engine.check(position)

    def fill(self, change: CommittedChange) -> CommittedChange:
        return self._run(self._engine.fill, change)

    def position_of(self, snapshot: str) -> str:
        return self._run(self._engine.position_of, snapshot.encode())

    def read(
        self,
        position: str,
        limit: int = 1000,
        subjects: Sequence[str] | None = None,
        *,
        reshape: bool = False,
    ) -> ChangesPage:
        if subjects is None:
            subjects = [f"{self.app_id}.runs"]
        return self._run(lambda: self._engine.read(position, subjects, limit, reshape=reshape))

    def read_all(
        self,
        position: str,
        *,
        limit: int = 1000,
        subjects: Sequence[str] | None = None,
        reshape: bool = False,
    ) -> list[CommittedChange]:
        reader = Reader(self, position, subjects, reshape=reshape)
        reader.read_rest(limit)
        return reader.received

    def read_on(self, position: str = "") -> Reader:
        return Reader(self, position or self.now(), None)

    def follow(
        self, position: str | None, count: int, act: Callable[[], object], *, reshape: bool = False
    ) -> list[CommittedChange]:
        """Follow until so many changes came; `act` is called when there is nothing more to read."""
        return self._run(self._follow, position, count, act, reshape)

    async def _follow(
        self, position: str | None, count: int, act: Callable[[], object], reshape: bool
    ) -> list[CommittedChange]:
        received: list[CommittedChange] = []
        actor: threading.Thread | None = None
        with anyio.fail_after(30 * PATIENCE):
            subjects = [f"{self.app_id}.runs"]
            async with self._engine.follow(subjects, position, reshape=reshape) as pages:
                async for page in pages:
                    received += page.changes
                    if page.complete and actor is None:
                        actor = threading.Thread(target=act)
                        actor.start()
                    if len(received) >= count and actor is not None:
                        break
        if actor is not None:
            await anyio.to_thread.run_sync(actor.join)
        return received


class Reader:
    """Reads page by page, and keeps what it got."""

    def __init__(
        self, app: App, position: str, subjects: Sequence[str] | None, *, reshape: bool = False
    ) -> None:
        self._app = app
        self._subjects = subjects
        self._reshape = reshape
        self.position = position
        self.received: list[CommittedChange] = []

    def read(self, limit: int) -> bool:
        """Read a page; return whether it is complete."""
        page = self._app.read(self.position, limit, self._subjects, reshape=self._reshape)
        assert page.lost is None, page.lost
        assert len(page.changes) <= limit
        self.received += page.changes
        self.position = page.position
        return page.complete

    def read_rest(self, limit: int) -> None:
        """Read until a page is complete."""
        while not self.read(limit):
            pass

    def names(self) -> list[Any]:
        """Return the names of the records that came since the last call."""
        before = len(self.received)
        self.read_rest(1000)
        return [name_of(change.new) for change in self.received[before:]]

    def find_breaks(self) -> list[str]:
        """Return the changes that were not made on what came before them."""
        self.read_rest(1000)
        states: dict[str, Any] = {}
        breaks: list[str] = []
        for change in self.received:
            if states.get(change.record_id) != values(change.old):
                breaks.append(change.record_id)
            states[change.record_id] = values(change.new)
        return breaks


def _contract(fields: Sequence[Any]) -> list[Any]:
    return [{"entityName": entity, "fields": list(fields)} for entity in ENTITIES]
