"""The list of users, page by page."""

import pytest

from kernel.testing.servers import running_server


@pytest.fixture(scope="module")
def named(postgres):
    with running_server(postgres) as server:
        names = ["ada", "Bob", "carol", "Dan", "eve"]
        for name in names:
            server.user(name)
        yield server, sorted(["admin", *names], key=str.lower)


def usernames(answer):
    assert answer.status_code == 200, answer.text
    return [user["username"] for user in answer.json()]


def test_without_parameters_all_are_listed(named):
    server, names = named
    answer = server.admin.get("/api/v1/users")
    assert usernames(answer) == names
    assert "link" not in answer.headers


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages_lead_through_all(named, limit):
    server, names = named
    found, path = [], f"/api/v1/users?limit={limit}"
    while path:
        answer = server.admin.get(path)
        assert len(answer.json()) <= limit
        found += usernames(answer)
        path = answer.links.get("next", {}).get("url")
    assert found == names


def test_limit_above_the_maximum_is_the_maximum(named):
    server, names = named
    assert usernames(server.admin.get("/api/v1/users?limit=100000")) == names


def test_after_alone_lists_the_rest(named):
    server, names = named
    ids = {user["username"]: user["id"] for user in server.admin.get("/api/v1/users").json()}
    assert usernames(server.admin.get(f"/api/v1/users?after={ids['Bob']}")) == names[3:]
    assert usernames(server.admin.get(f"/api/v1/users?after={ids['eve']}")) == []
    assert usernames(server.admin.get(f"/api/v1/users?after={ids['Bob'].upper()}")) == names[3:]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=x",
        "after=x",
        "after=",
        "after=00000000-0000-0000-0000-000000000000",
    ],
)
def test_bad_parameters_are_refused(named, query):
    server, _ = named
    assert server.admin.get(f"/api/v1/users?{query}").status_code == 400
