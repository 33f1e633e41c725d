"""Entity tags: conditional reads and writes, and what a writer without `read` is shown."""

from __future__ import annotations

import threading

import httpx
import pytest

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, add, empty, holding, query
from tests.plugins.data.support import refused


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def tag(answer: httpx.Response) -> str:
    assert answer.is_success, answer.text
    found = answer.headers["etag"]
    assert found.startswith('"')
    assert found.endswith('"')
    return found


def test_the_tag_is_the_same_however_a_record_is_read(admin: Client):
    created = admin.post(COMPANIES, json={"name": "one"})
    path = f"{COMPANIES}/{created.json()['id']}"
    first = tag(created)
    assert tag(admin.get(path)) == first
    assert tag(admin.get(path, params={"fields": "name"})) == first
    assert tag(admin.get(path, params={"expand": "contacts_via_company_id"})) == first
    assert admin.get(COMPANIES, params={"etag": "true"}).json() == [
        {**created.json(), "_etag": first}
    ]
    assert query(admin, COMPANIES, etag=True, fields=["name"])["data"] == [
        {"id": created.json()["id"], "name": "one", "_etag": first}
    ]
    [listed] = query(admin, COMPANIES, etag=True, expand=["contacts_via_company_id"])["data"]
    assert listed == {**created.json(), "_etag": first, "expand": {"contacts_via_company_id": []}}
    changed = admin.patch(path, json={"name": "two"})
    second = tag(changed)
    assert second != first
    assert tag(admin.get(path)) == second
    assert "etag" not in admin.get(COMPANIES).headers
    refused(admin.get(COMPANIES, params={"etag": "perhaps"}))


def test_an_unchanged_record_is_not_sent_again(admin: Client):
    created = admin.post(COMPANIES, json={"name": "one"})
    path, first = f"{COMPANIES}/{created.json()['id']}", tag(created)
    for header in (first, f'"x", W/{first}', "*"):
        answer = admin.get(path, headers={"if-none-match": header})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", first)
    for header in ('"x"', first.strip('"')):
        assert admin.get(path, headers={"if-none-match": header}).status_code == 200
    expanded = {"expand": "contacts_via_company_id"}
    answer = admin.get(path, params=expanded, headers={"if-none-match": first})
    assert answer.status_code == 200


def test_a_write_over_a_change_of_another_is_refused(admin: Client):
    created = admin.post(COMPANIES, json={"name": "one"})
    path, first = f"{COMPANIES}/{created.json()['id']}", tag(created)
    changed = admin.patch(path, json={"name": "two"}, headers={"if-match": f'"x", {first}'})
    assert changed.json()["name"] == "two"
    for answer in (
        admin.patch(path, json={"name": "three"}, headers={"if-match": first}),
        admin.patch(path, json={"id": "x"}, headers={"if-match": first}),
        admin.delete(path, headers={"if-match": first}),
        admin.delete(path, headers={"if-match": f"W/{tag(changed)}"}),
    ):
        assert answer.status_code == 412, answer.text
        assert answer.json() == {
            "error": f"record '{created.json()['id']}' has changed since it was read",
            "current": changed.json(),
        }
    refused(admin.patch(path, json={"name": "x"}, headers={"if-match": "bare"}))
    missing = f"{COMPANIES}/00000000-0000-4000-8000-000000000000"
    refused(admin.patch(missing, json={"name": "x"}, headers={"if-match": first}), 404)
    refused(admin.delete(missing, headers={"if-match": "*"}), 404)
    assert admin.patch(path, json={"name": "four"}, headers={"if-match": "*"}).status_code == 200
    assert admin.delete(path, headers={"if-match": tag(admin.get(path))}).status_code == 200


def test_of_writers_with_one_tag_one_succeeds(admin: Client):
    created = admin.post(COMPANIES, json={"name": "one"})
    path, first = f"{COMPANIES}/{created.json()['id']}", tag(created)
    found: list[int] = []

    def write(number: int) -> None:
        answer = admin.patch(path, json={"name": str(number)}, headers={"if-match": first})
        found.append(answer.status_code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] + [412] * 7


def test_a_writer_without_read_sees_what_it_sent(shop: Server, admin: Client):
    writer = holding(shop, "companies.create", "companies.update", "companies.delete")
    created = writer.post(COMPANIES, json={"name": "one", "note": None})
    assert created.status_code == 201
    assert created.json().keys() == {"id", "name", "note"}
    assert "etag" not in created.headers
    path = f"{COMPANIES}/{created.json()['id']}"
    changed = writer.patch(path, json={"note": "new"})
    assert changed.json() == {"id": created.json()["id"], "note": "new"}
    assert "etag" not in changed.headers
    bulk = writer.post(f"{COMPANIES}/bulk", json=[{"name": "two"}, {"name": "3", "note": "n"}])
    assert [each.keys() for each in bulk.json()] == [{"id", "name"}, {"id", "name", "note"}]
    first = tag(admin.get(path))
    refused(writer.patch(path, json={"note": "x"}, headers={"if-match": first}), 403)
    refused(writer.delete(path, headers={"if-match": first}), 403)
    refused(writer.delete(path, headers={"if-match": '"x"'}), 403)


def test_a_writer_who_reads_its_own_records_is_shown_those(shop: Server, admin: Client):
    writer = holding(shop, "companies.create", "companies.update", "companies.read.own")
    created = writer.post(COMPANIES, json={"name": "mine"})
    path = f"{COMPANIES}/{created.json()['id']}"
    assert created.json() == writer.get(path).json()
    assert tag(created) == tag(writer.get(path))
    assert writer.patch(path, json={"note": "x"}).json()["name"] == "mine"
    other = add(admin, COMPANIES, name="other", note="secret")
    path = f"{COMPANIES}/{other['id']}"
    changed = writer.patch(path, json={"industry": "x"})
    assert changed.json() == {"id": other["id"], "industry": "x"}
    failed = writer.patch(path, json={"industry": "y"}, headers={"if-match": '"x"'})
    assert failed.status_code == 412
    assert failed.json().keys() == {"error"}
