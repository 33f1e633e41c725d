"""Jobs over HTTP, as the contract defines them."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.waiting import eventually

FIELDS = [
    "id", "app_id", "status", "payload", "result", "error", "attempts",
    "created_at", "updated_at", "run_at", "progress",
]  # fmt: skip


@pytest.fixture
def app(server):
    app_id = f"queue{uuid.uuid4().hex[:8]}"
    server.admin.post("/api/v1/apps", json={"appId": app_id, "name": "x"}).raise_for_status()
    return app_id


@pytest.fixture
def path(app):
    return f"/api/v1/apps/{app}/jobs"


def enqueue(server, path, **body):
    answer = server.admin.post(path, json={"payload": None, **body})
    assert answer.status_code == 201, answer.text
    assert list(answer.json()) == ["job_id"]
    return answer.json()["job_id"]


def get(server, path, job_id):
    answer = server.admin.get(f"{path}/{job_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_job_has_the_fields_of_the_contract_and_some_more(server, app, path):
    payload = {"type": "send_report", "userId": "..."}
    job_id = enqueue(server, path, payload=payload)
    job = get(server, path, job_id)
    assert list(job) == FIELDS
    assert (job["id"], job["app_id"], job["status"]) == (job_id, app, "pending")
    assert job["payload"] == payload
    assert (job["result"], job["error"], job["attempts"], job["progress"]) == (None, None, 0, None)
    for field in ("created_at", "updated_at", "run_at"):
        assert job[field].endswith("Z")
        age = datetime.now(UTC) - datetime.fromisoformat(job[field])
        assert abs(age) < timedelta(minutes=1)


def test_without_a_worker_it_waits_as_pending(server, path):
    job_id = enqueue(server, path)
    assert get(server, path, job_id)["status"] == "pending"


@pytest.mark.parametrize(
    "text", ['{"b":1,  "a":[1e300,12345678901234567890123]}', "null", '"x\\u00e9"', "0.10"]
)
def test_the_payload_stays_as_it_was_given(server, path, text):
    answer = server.admin.post(
        path, content=f'{{"payload": {text}}}', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 201, answer.text
    shown = server.admin.get(f"{path}/{answer.json()['job_id']}").text
    assert f'"payload":{text},' in shown


def test_what_belongs_to_the_server_is_ignored_in_a_body(server, path):
    mine = str(uuid.uuid4())
    job_id = enqueue(
        server, path, id=mine, status="completed", attempts=7, user_id=mine, app_id="x"
    )
    job = get(server, path, job_id)
    assert job_id != mine
    assert (job["status"], job["attempts"]) == ("pending", 0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        {"payload": 1, "run_at": "tomorrow"},
        {"payload": 1, "run_at": 12},
        {"payload": 1, "run_at": "0001-01-01T00:00:00+14:00"},
        {"payload": 1, "max_attempts": 0},
        {"payload": 1, "max_attempts": 1001},
        {"payload": 1, "max_attempts": 1.5},
        {"payload": 1, "timeout_s": 0},
        {"payload": 1, "timeout_s": -1},
        {"payload": 1, "timeout_s": 1e9},
        {"payload": 1, "timeout_s": "60"},
        {"payload": 1, "priority": 2**31},
        {"payload": 1, "priority": 2**70},
        {"payload": 1, "priority": "high"},
        {"payload": 1, "key": ""},
        {"payload": 1, "key": "x" * 201},
        {"payload": 1, "key": 5},
        {"payload": "\0"},
        {"payload": "x", "key": "a\0b"},
        {"payload": "x" * (1024 * 1024)},
    ],
)
def test_bad_input_is_a_400(server, path, body):
    answer = server.admin.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"payload": }',
        b'{"payload": 01}',
        b'{"payload": "\xff"}',
        b'{"payload": "\x01"}',
        b'{"payload": nul}',
        b'{"payload": ' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"payload": 1, "key": "\\ud800"}',
    ],
)
def test_broken_json_is_a_400_for_its_sender_alone(server, path, content):
    """Jobs of the same moment share a statement."""

    def send(n):
        if n % 5:
            return server.admin.post(path, json={"payload": n}).status_code
        headers = {"content-type": "application/json"}
        return server.admin.post(path, content=content, headers=headers).status_code

    with ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(send, range(20)))
    assert codes == [201 if n % 5 else 400 for n in range(20)]


def test_a_payload_of_a_megabyte_is_accepted(server, path):
    text = "x" * (1024 * 1024 - 2)
    job_id = enqueue(server, path, payload=text)
    assert get(server, path, job_id)["payload"] == text


def test_a_payload_far_over_its_limit_is_no_body_over_the_limit_of_all(server, path):
    assert server.admin.post(path, json={"payload": "x" * 3_000_000}).status_code == 400


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2031-02-03T04:05:06Z", "2031-02-03T04:05:06.000000Z"),
        ("2031-02-03T04:05:06.789+02:00", "2031-02-03T02:05:06.789000Z"),
        ("2031-02-03T04:05:06", "2031-02-03T04:05:06.000000Z"),
    ],
)
def test_run_at_is_shown_in_utc(server, path, given, shown):
    assert get(server, path, enqueue(server, path, run_at=given))["run_at"] == shown


def test_run_at_has_a_bound(server, path):
    """What waits is never pruned."""
    for days in (10 * 365, 100):
        later = (datetime.now(UTC) + timedelta(days=days)).isoformat()
        assert get(server, path, enqueue(server, path, run_at=later))["status"] == "pending"
    beyond = (datetime.now(UTC) + timedelta(days=10 * 366 + 1)).isoformat()
    for given in (beyond, "9999-01-01T00:00:00Z"):
        answer = server.admin.post(path, json={"payload": 1, "run_at": given})
        assert answer.status_code == 400
        assert answer.json() == {"error": "run_at must be at most 10 years ahead"}


def test_the_list_is_newest_first_and_pages(server, path):
    ids = [enqueue(server, path, payload=n) for n in range(7)][::-1]
    listed = server.admin.get(path).json()
    assert [job["id"] for job in listed] == ids
    assert list(listed[0]) == FIELDS
    first = server.admin.get(path, params={"limit": 3}).json()
    assert [job["id"] for job in first] == ids[:3]
    second = server.admin.get(path, params={"limit": 3, "before": ids[2]}).json()
    assert [job["id"] for job in second] == ids[3:6]
    assert [job["id"] for job in server.admin.get(path, params={"before": ids[5]}).json()] == ids[
        6:
    ]
    assert server.admin.get(path, params={"before": ids[6]}).json() == []
    assert len(server.admin.get(path, params={"limit": "5000"}).json()) == 7


def test_jobs_that_are_enqueued_together_page_without_a_gap(server, path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: enqueue(server, path, payload=n), range(60)))
    seen, last = [], {}
    while page := server.admin.get(path, params={"limit": 7, **last}).json():
        seen += [job["id"] for job in page]
        last = {"before": seen[-1]}
    assert sorted(seen) == sorted(made)
    assert len(seen) == 60


def test_the_list_is_filtered_by_status(server, path):
    kept, gone = enqueue(server, path), enqueue(server, path)
    server.admin.post(f"{path}/{gone}/cancel").raise_for_status()
    for status, ids in (
        ("pending", [kept]),
        ("cancelled", [gone]),
        ("running", []),
        ("failed", []),
    ):
        listed = server.admin.get(path, params={"status": status}).json()
        assert [job["id"] for job in listed] == ids


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"},
        {"status": ""},
        {"limit": "0"},
        {"limit": "-1"},
        {"limit": "x"},
        {"before": "x"},
        {"before": str(uuid.uuid4())},
        {"before": "'; drop table x"},
        {"offset": "1"},
    ],
)
def test_a_bad_query_is_a_400(server, path, query):
    answer = server.admin.get(path, params=query)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_a_job_is_reachable_through_its_own_app_only(server, app, path):
    other = f"other{uuid.uuid4().hex[:8]}"
    server.admin.post("/api/v1/apps", json={"appId": other, "name": "x"}).raise_for_status()
    job_id = enqueue(server, path)
    foreign = f"/api/v1/apps/{other}/jobs"
    answer = server.admin.get(f"{foreign}/{job_id}")
    assert (answer.status_code, answer.json()) == (404, {"error": f"job '{job_id}' not found"})
    assert server.admin.post(f"{foreign}/{job_id}/cancel").status_code == 404
    assert server.admin.get(foreign, params={"before": job_id}).status_code == 400
    assert server.admin.get(foreign).json() == []
    assert get(server, path, job_id)["status"] == "pending"


def test_an_unknown_job_is_a_404_and_what_is_no_id_a_400(server, path):
    missing = uuid.uuid4()
    assert server.admin.get(f"{path}/{missing}").status_code == 404
    assert server.admin.post(f"{path}/{missing}/cancel").status_code == 404
    assert server.admin.get(f"{path}/x").status_code == 400
    assert server.admin.post(f"{path}/x/cancel").status_code == 400


def test_a_pending_job_is_cancelled_once(server, path):
    job_id = enqueue(server, path)
    answer = server.admin.post(f"{path}/{job_id}/cancel")
    assert (answer.status_code, answer.json()) == (200, {"message": f"job '{job_id}' cancelled"})
    assert get(server, path, job_id)["status"] == "cancelled"
    again = server.admin.post(f"{path}/{job_id}/cancel")
    assert again.status_code == 400
    assert "cancelled" in again.json()["error"]


def test_the_same_key_returns_the_same_job_while_it_waits(server, app, path):
    first = enqueue(server, path, key="nightly", payload=1)
    assert enqueue(server, path, key="nightly", payload=2) == first
    assert get(server, path, first)["payload"] == 1
    assert enqueue(server, path, key="other") != first
    other = f"other{uuid.uuid4().hex[:8]}"
    server.admin.post("/api/v1/apps", json={"appId": other, "name": "x"}).raise_for_status()
    assert enqueue(server, f"/api/v1/apps/{other}/jobs", key="nightly") != first
    server.admin.post(f"{path}/{first}/cancel").raise_for_status()
    assert enqueue(server, path, key="nightly") != first


def test_twenty_at_once_with_one_key_make_one_job(server, path):
    with ThreadPoolExecutor(20) as pool:
        made = set(pool.map(lambda n: enqueue(server, path, key="k", payload=n), range(20)))
    assert len(made) == 1
    assert len(server.admin.get(path).json()) == 1


def test_any_role_on_the_app_is_enough_and_none_is_not(server, app, path):
    stranger, member = server.user(), server.user()
    role = {"name": "guest", "permissions": []}
    server.admin.post(f"/api/v1/apps/{app}/roles", json=role).raise_for_status()
    assign = {"userId": member.id, "role": "guest"}
    server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=assign).raise_for_status()
    job_id = member.post(path, json={"payload": 1}).json()["job_id"]
    assert member.get(f"{path}/{job_id}").status_code == 200
    assert member.get(path).status_code == 200
    for method, where in (("POST", path), ("GET", path), ("GET", f"{path}/{job_id}")):
        assert stranger.request(method, where, json={"payload": 1}).status_code == 403
        assert server.http.request(method, where).status_code == 401
    assert stranger.post(f"{path}/{job_id}/cancel").status_code == 403
    assert member.post(f"{path}/{job_id}/cancel").status_code == 200


def test_jobs_of_others_need_permissions_of_the_app(server, app, path):
    member = server.user()
    roles = f"/api/v1/apps/{app}/roles"
    server.admin.post(roles, json={"name": "clerk"}).raise_for_status()
    assign = {"userId": member.id, "role": "clerk"}
    server.admin.post(f"{roles}/assign", json=assign).raise_for_status()
    own = member.post(path, json={"payload": 1}).json()["job_id"]
    other = server.admin.post(path, json={"payload": 2}).json()["job_id"]
    assert [job["id"] for job in member.get(path).json()] == [own]
    assert member.get(f"{path}?before={other}").status_code == 400
    assert member.get(f"{path}/{other}").status_code == 404
    assert member.post(f"{path}/{other}/cancel").status_code == 404

    def permit(*keys):
        change = {"permissions": list(keys)}
        server.admin.patch(f"{roles}/clerk", json=change).raise_for_status()
        held = f"/api/v1/apps/{app}/permissions/{member.id}"
        eventually(lambda: set(keys) <= set(server.admin.get(held).json()["permissions"]))

    permit("core:jobs.read")
    assert [job["id"] for job in member.get(path).json()] == [other, own]
    assert member.get(f"{path}/{other}").status_code == 200
    assert member.post(f"{path}/{other}/cancel").status_code == 404
    permit("core:jobs.read", "core:jobs.manage")
    assert member.post(f"{path}/{other}/cancel").status_code == 200
    listed = server.admin.get(f"/api/v1/apps/{app}/permissions/available").json()
    assert not [each for each in listed if each["key"].startswith("core:")]


@pytest.mark.parametrize("app_id", ["nothere", "core"])
def test_an_app_that_is_not_installed_is_a_404(server, app_id):
    path = f"/api/v1/apps/{app_id}/jobs"
    assert server.admin.post(path, json={"payload": 1}).status_code == 404
    assert server.admin.get(path).status_code == 404


def test_an_uninstalled_app_takes_its_jobs_along(server, app, path):
    enqueue(server, path)
    server.admin.delete(f"/api/v1/apps/{app}").raise_for_status()
    count = "select count(*) from caudex_jobs.jobs where app_id = %s"
    assert server.sql(count, app) == [(0,)]
    # A request may enqueue at that very moment: the database refuses the row.
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        server.sql(
            "insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s,"
            " run_at, payload) values (gen_random_uuid(), %s, true, 0, 1, 900, now(), '1')",
            app,
        )
    server.admin.post("/api/v1/apps", json={"appId": app, "name": "x"}).raise_for_status()
    assert server.admin.get(path).json() == []


def test_a_page_that_is_too_large_is_refused_with_a_remedy(server, app, path):
    enqueue(server, path, payload="small")
    server.sql(
        "insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s, run_at,"
        " payload) select gen_random_uuid(), %s, true, 0, 1, 900, now(),"
        " to_json(repeat('x', 1000000)) from generate_series(1, 60)",
        app,
    )
    answer = server.admin.get(path)
    assert answer.status_code == 400
    assert "limit" in answer.json()["error"]
    assert len(server.admin.get(path, params={"limit": 12}).json()) == 12
