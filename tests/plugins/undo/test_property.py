"""Random writes, undone: in reverse order all is as before, in any order as the rules say."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plugins.undo.conftest import APP, Crm, Row

CODES = st.sampled_from([None, "A", "B"])
NUMBERS = st.integers(0, 3)
STEPS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["create", "update", "delete"]),
            st.sampled_from(["companies", "contacts", "orders"]),
            NUMBERS,
            NUMBERS,
            CODES,
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=6,
)
"""Requests of one to four operations: the kind, the entity, which record, a link, a value."""

few = settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def choose(rows: list[Row], number: int) -> str | None:
    return rows[number % len(rows)]["id"] if rows else None


def values_of(crm: Crm, entity: str, link: int, code: str | None) -> Row:
    if entity == "companies":
        return {"name": f"company {code}", "code": code}
    if entity == "orders":
        return {"title": code, "contact": choose(crm.all("contacts"), link)}
    return {
        "name": f"contact {link}",
        "email": code,
        "age": link,
        "company": choose(crm.all("companies"), link),
        "boss": choose(crm.all("contacts"), link + 1),
    }


def operation_of(crm: Crm, step: tuple[str, str, int, int, str | None]) -> Row | None:
    kind, entity, number, link, code = step
    record_id = choose(crm.all(entity), number)
    if kind == "create":
        return {"op": kind, "entity": entity, "data": values_of(crm, entity, link, code)}
    if record_id is None:
        return None
    operation: Row = {"op": kind, "entity": entity, "id": record_id}
    if kind == "update":
        operation["data"] = values_of(crm, entity, link, code)
    return operation


def clear(crm: Crm) -> None:
    for entity in ("orders", "contacts", "companies"):
        body = {"where": {}, "max": 10_000}
        answer = crm.client.post(f"{APP}/collections/{entity}/delete-where", json=body)
        assert answer.status_code == 200, answer.text


@few
@given(STEPS)
def test_in_reverse_order_everything_is_as_before(crm: Crm, steps: list[Any]) -> None:
    clear(crm)
    states = [crm.state()]
    requests: list[str] = []
    for step in steps:
        operations = [operation_of(crm, item) for item in step]
        body = {"operations": [operation for operation in operations if operation]}
        answer = crm.client.post(f"{APP}/batch", json=body)
        if answer.is_success:  # a unique value can be taken, or a record gone
            requests.append(answer.headers["x-request-id"])
            states.append(crm.state())
    undos: list[str] = []
    for place in reversed(range(len(requests))):
        undone = crm.undo(request=requests[place])
        assert crm.state() == states[place]
        assert crm.undo(request=requests[place])["undone"] == 0
        undos.append(undone["request"])
    for place, undo in enumerate(reversed(undos)):  # and everything is made again
        crm.undo(request=undo)
        assert crm.state() == states[place + 1]


EDITS = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete"]), NUMBERS, NUMBERS, CODES),
    min_size=2,
    max_size=8,
)


class Change:
    """One change of a contact by one request, and what its undo has to do to a state."""

    def __init__(self, request: str, old: Row | None, new: Row | None) -> None:
        self.request = request
        self.old = old
        self.new = new

    def expect(self, current: Row | None) -> tuple[str, Row | None]:
        """Return what becomes of the record: `done`, `conflict` or `undone`, and its new state."""
        if self.old is None:
            if current is None:
                return "done", None
            return ("undone", None) if current == self.new else ("conflict", current)
        if self.new is None:
            if current is None:
                return "undone", self.old
            return ("done" if current == self.old else "conflict"), current
        changed = [name for name in self.old if self.old[name] != self.new[name]]
        if current is None:
            return "conflict", None
        differing = [name for name in changed if current[name] != self.old[name]]
        if not differing:
            return "done", current
        if any(current[name] != self.new[name] for name in differing):
            return "conflict", current
        return "undone", {**current, **{name: self.old[name] for name in differing}}


def plain(row: Row | None) -> Row | None:
    return None if row is None else {**row, "updated_at": None}


@few
@given(EDITS, st.randoms(use_true_random=False))
def test_in_any_order_the_conflicts_are_right(crm: Crm, edits: list[Any], random: Any) -> None:
    clear(crm)
    changes: list[tuple[str, Change]] = []
    for kind, number, age, email in edits:
        record_id = choose(crm.all("contacts"), number)
        old = None if record_id is None else plain(crm.get("contacts", record_id))
        if kind == "create" or record_id is None:
            old = None
            record_id = crm.create("contacts", name="c", age=age, email=email)["id"]
        elif kind == "update":
            crm.update("contacts", record_id, age=age, email=email)
        else:
            crm.delete("contacts", record_id)
        new = plain(crm.get("contacts", record_id))
        if old != new:
            changes.append((record_id, Change(crm.request, old, new)))
    random.shuffle(changes)
    for record_id, change in changes:
        outcome, state = change.expect(plain(crm.get("contacts", record_id)))
        answer = crm.try_undo(request=change.request)
        assert answer.status_code == (412 if outcome == "conflict" else 200), answer.text
        if outcome == "conflict":
            [conflict] = answer.json()["conflicts"]
            assert (conflict["id"], conflict["reason"]) == (record_id, "changed later")
        else:
            assert answer.json()["undone"] == (outcome == "undone")
        assert plain(crm.get("contacts", record_id)) == state
