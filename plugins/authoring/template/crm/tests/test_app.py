"""Sales work on their own deals, managers see all of them, and overdue deals get a task."""

import time

APP = "/api/v1/apps/sample_app"
DEALS = f"{APP}/collections/deals"


def call(client, method, **params):
    return client.post(f"{APP}/rpc", json={"method": method, "params": params})


def wait_for(client, job_id):
    for _ in range(600):
        job = client.get(f"{APP}/jobs/{job_id}").json()
        if job["status"] in ("completed", "failed"):
            return job
        time.sleep(0.05)
    raise AssertionError("the job has not ended")


def test_sales_see_their_own_deals_and_managers_all(app):
    one = app.user(roles={"sample_app": ["sales"]})
    other = app.user(roles={"sample_app": ["sales"]})
    manager = app.user(roles={"sample_app": ["manager"]})
    deal = one.post(DEALS, json={"title": "Chairs", "value": 900, "stage": "Proposal"}).json()
    assert other.get(f"{DEALS}/{deal['id']}").status_code == 404
    assert manager.get(f"{DEALS}/{deal['id']}").json()["title"] == "Chairs"
    assert other.delete(f"{DEALS}/{deal['id']}").status_code == 403
    assert manager.delete(f"{DEALS}/{deal['id']}").is_success


def test_the_pipeline_has_what_the_caller_may_see(app):
    seller = app.user(roles={"sample_app": ["sales"]})
    stranger = app.user(roles={"sample_app": ["sales"]})
    for value in (100, 300):
        seller.post(DEALS, json={"title": "Lamps", "value": value, "stage": "Qualified"})
    stages = {row["stage"]: row for row in call(seller, "pipeline").json()["stages"]}
    assert (stages["Qualified"]["deals"], stages["Qualified"]["value"]) == (2, 400)
    assert call(seller, "pipeline").json()["expected"] == 120
    assert call(stranger, "pipeline").json()["expected"] == 0


def test_a_task_follows_a_deal(app):
    seller = app.user(roles={"sample_app": ["sales"]})
    deal = seller.post(DEALS, json={"title": "Desks"}).json()
    task = call(seller, "follow_up", deal_id=deal["id"], due="2031-01-02").json()
    assert (task["subject"], task["due"]) == ("Follow up: Desks", "2031-01-02")
    assert (
        call(app.user(roles={"sample_app": ["sales"]}), "follow_up", deal_id=deal["id"]).status_code
        == 500
    )


def test_overdue_deals_get_one_task(app):
    deal = app.admin.post(DEALS, json={"title": "Late", "close_date": "2020-01-01"}).json()
    for expected in (1, 0):
        job = app.admin.post(f"{APP}/jobs", json={"payload": {"type": "remind"}}).json()
        ended = wait_for(app.admin, job["job_id"])
        assert ended["status"] == "completed", ended
        assert ended["result"]["tasks"] == expected
    tasks = app.admin.get(f"{APP}/collections/activities?deal_id={deal['id']}").json()
    assert [task["subject"] for task in tasks] == ["Overdue: Late"]


def test_a_contact_has_a_whole_name(app):
    seller = app.user(roles={"sample_app": ["sales"]})
    contact = {"first_name": "Ada", "last_name": "Bell"}
    answer = seller.post(f"{APP}/collections/contacts", json=contact)
    assert answer.json()["name"] == "Ada Bell"


def test_a_deal_keeps_a_contract(app):
    seller = app.user(roles={"sample_app": ["sales"]})
    content = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
    upload = seller.post(f"{APP}/files?name=contract.pdf", content=content)
    assert upload.status_code == 201, upload.text
    deal = seller.post(DEALS, json={"title": "Signed", "contract": upload.json()["id"]}).json()
    assert deal["contract"]["name"] == "contract.pdf"
    assert seller.get(f"{APP}/files/{deal['contract']['id']}").content == content


def test_others_are_refused(app):
    assert app.user().get(DEALS).status_code == 403
    assert app.http.get(DEALS).status_code == 401
    viewer = app.user(roles={"sample_app": ["viewer"]})
    assert viewer.post(DEALS, json={"title": "x"}).status_code == 403
