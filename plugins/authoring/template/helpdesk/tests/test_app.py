"""Staff see their own tickets, agents answer all of them, and late ones become urgent."""

import time

APP = "/api/v1/apps/sample_app"
TICKETS = f"{APP}/collections/tickets"
NOTES = f"{APP}/collections/notes"


def call(client, method, **params):
    return client.post(f"{APP}/rpc", json={"method": method, "params": params})


def wait_for(client, job_id):
    for _ in range(600):
        job = client.get(f"{APP}/jobs/{job_id}").json()
        if job["status"] in ("completed", "failed"):
            return job
        time.sleep(0.05)
    raise AssertionError("the job has not ended")


def test_staff_see_their_own_tickets_and_agents_all(app):
    one = app.user(roles={"sample_app": ["staff"]})
    other = app.user(roles={"sample_app": ["staff"]})
    agent = app.user(roles={"sample_app": ["agent"]})
    ticket = one.post(TICKETS, json={"subject": "The printer is on fire"}).json()
    assert (ticket["state"], ticket["priority"]) == ("open", "normal")
    assert other.get(f"{TICKETS}/{ticket['id']}").status_code == 404
    assert agent.get(f"{TICKETS}/{ticket['id']}").is_success


def test_only_agents_answer_and_keep_notes(app):
    staff = app.user(roles={"sample_app": ["staff"]})
    agent = app.user(roles={"sample_app": ["agent"]})
    ticket = staff.post(TICKETS, json={"subject": "No sound"}).json()
    path = f"{TICKETS}/{ticket['id']}"
    assert staff.patch(path, json={"answer": "x"}).status_code in (400, 403)
    assert agent.patch(path, json={"answer": "Plug it in.", "state": "solved"}).is_success
    assert staff.get(path).json()["answer"] == "Plug it in."
    assert agent.post(NOTES, json={"ticket_id": ticket["id"], "body": "again"}).status_code == 201
    assert staff.get(NOTES).status_code == 403


def test_one_agent_takes_a_ticket(app):
    staff = app.user(roles={"sample_app": ["staff"]})
    agent = app.user(roles={"sample_app": ["agent"]})
    ticket = staff.post(TICKETS, json={"subject": "A new screen"}).json()
    assert call(agent, "take", ticket_id=ticket["id"]).json()["assignee_id"] == agent.id
    other = app.user(roles={"sample_app": ["agent"]})
    refused = call(other, "take", ticket_id=ticket["id"])
    assert refused.json() == {"error": "another agent has this ticket"}


def test_the_queue_counts_what_the_caller_may_see(app):
    staff = app.user(roles={"sample_app": ["staff"]})
    staff.post(TICKETS, json={"subject": "Slow", "priority": "low"})
    assert call(staff, "queue").json() == {"urgent": 0, "normal": 0, "low": 1}


def test_late_tickets_become_urgent(app):
    late = app.admin.post(TICKETS, json={"subject": "Late", "due": "2020-01-01T00:00:00Z"}).json()
    job = app.admin.post(f"{APP}/jobs", json={"payload": {"type": "escalate"}}).json()
    ended = wait_for(app.admin, job["job_id"])
    assert ended["status"] == "completed", ended
    assert app.admin.get(f"{TICKETS}/{late['id']}").json()["priority"] == "urgent"


def test_a_ticket_has_attachments(app):
    staff = app.user(roles={"sample_app": ["staff"]})
    upload = staff.post(f"{APP}/files?name=error.txt", content=b"It does not print.\n")
    assert upload.status_code == 201, upload.text
    ticket = {"subject": "See the file", "attachments": [upload.json()["id"]]}
    answer = staff.post(TICKETS, json=ticket).json()
    assert [file["name"] for file in answer["attachments"]] == ["error.txt"]


def test_others_are_refused(app):
    assert app.user().get(TICKETS).status_code == 403
    assert app.http.get(TICKETS).status_code == 401
