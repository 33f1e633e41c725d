"""Customers see their own tickets, agents answer all of them, and a job closes stale ones."""

import time

API = "/api/v1/apps/sample_app"
TICKETS = f"{API}/collections/tickets"
COMMENTS = f"{API}/collections/comments"


def customer(app):
    return app.user(roles={"sample_app": ["customer"]})


def agent(app):
    return app.user(roles={"sample_app": ["agent"]})


def call(client, method, **params):
    answer = client.post(f"{API}/rpc", json={"method": method, "params": params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refuse(client, method, **params):
    answer = client.post(f"{API}/rpc", json={"method": method, "params": params})
    assert answer.status_code >= 400
    return answer.json()["error"]


def run_job(client, **payload):
    """Run a job until it has ended, and return it."""
    job = client.post(f"{API}/jobs", json={"payload": payload}).json()["job_id"]
    for _ in range(200):
        state = client.get(f"{API}/jobs/{job}").json()
        if state["status"] in ("completed", "failed"):
            return state
        time.sleep(0.1)
    raise AssertionError(state)


def test_a_customer_sees_own_tickets_only(app):
    ann, bob = customer(app), customer(app)
    ticket = call(ann, "open_ticket", subject="The lamp is dark", category="problem")
    assert (ticket["status"], ticket["priority"]) == ("new", "normal")
    me = ann.get("/api/v1/auth/me").json()
    assert ticket["requester_id"] == me["id"]
    assert [row["id"] for row in ann.get(TICKETS).json()] == [ticket["id"]]
    assert bob.get(TICKETS).json() == []
    assert bob.get(f"{TICKETS}/{ticket['id']}").status_code == 404
    assert refuse(bob, "conversation", ticket=ticket["id"]) == "there is no such ticket"
    assert refuse(bob, "comment", ticket=ticket["id"], text="Hm") == "there is no such ticket"
    assert ticket["id"] in [row["id"] for row in agent(app).get(TICKETS).json()]


def test_a_customer_decides_neither_status_nor_assignee(app):
    ann = customer(app)
    ticket = call(ann, "open_ticket", subject="Two lamps")
    path = f"{TICKETS}/{ticket['id']}"
    assert ann.patch(path, json={"subject": "Three lamps"}).status_code == 200
    for change in ({"status": "closed"}, {"priority": "urgent"}, {"assignee_id": None}):
        assert ann.patch(path, json=change).status_code == 403
    assert agent(app).patch(path, json={"priority": "urgent"}).status_code == 200


def test_answers_and_questions_set_the_status(app):
    ann, ada = customer(app), agent(app)
    ticket = call(ann, "open_ticket", subject="Where is my chair?")["id"]
    assert call(ada, "comment", ticket=ticket, text="On its way.") == {"status": "waiting"}
    call(ada, "comment", ticket=ticket, text="It is late.", internal=True)
    assert call(ann, "comment", ticket=ticket, text="Thanks!") == {"status": "open"}
    assert call(ann, "comment", ticket=ticket, text="It is here.", close=True) == {
        "status": "closed"
    }
    texts = [row["text"] for row in call(ann, "conversation", ticket=ticket)]
    assert texts == ["On its way.", "Thanks!", "It is here."]
    rows = call(ada, "conversation", ticket=ticket)
    assert [row["internal"] for row in rows] == [False, True, False, False]
    assert rows[0]["expand"]["author_id"]["username"] == ada.username
    assert ann.get(COMMENTS).status_code == 403


def test_stale_tickets_are_closed_by_a_job(app):
    ann, ada = customer(app), agent(app)
    stale, fresh = (call(ann, "open_ticket", subject=text)["id"] for text in ("Stale", "Fresh"))
    call(ada, "comment", ticket=stale, text="Does it work now?")
    assert run_job(ada, type="close_stale")["result"] == {"closed": 0}
    job = run_job(ada, type="close_stale", days=0)
    assert job["status"] == "completed", job
    assert job["result"]["closed"] >= 1
    statuses = {row["id"]: row["status"] for row in ann.get(TICKETS).json()}
    assert statuses == {stale: "closed", fresh: "new"}
    last = call(ann, "conversation", ticket=stale)[-1]
    assert last["author_id"] is None
    assert "no answer for 0 days" in last["text"]


def test_a_customer_cannot_close_tickets_by_the_job(app):
    ann, ada = customer(app), agent(app)
    ticket = call(ann, "open_ticket", subject="Mine")["id"]
    call(ada, "comment", ticket=ticket, text="Look here.")
    assert run_job(ann, type="close_stale", days=0)["status"] == "failed"
    assert ann.get(f"{TICKETS}/{ticket}").json()["status"] == "waiting"


def test_a_ticket_holds_an_attachment(app):
    ann, bob, ada = customer(app), customer(app), agent(app)
    file = ann.post(f"{API}/files?name=log.txt", content=b"It is dark.").json()
    ticket = call(ann, "open_ticket", subject="Dark", attachment=file["id"])
    shown = ann.get(f"{TICKETS}/{ticket['id']}").json()["attachment"]
    assert (shown["name"], shown["type"]) == ("log.txt", "text/plain")
    assert ada.get(f"{API}/files/{file['id']}").content == b"It is dark."
    assert bob.get(f"{API}/files/{file['id']}").status_code == 404
