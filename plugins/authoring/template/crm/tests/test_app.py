"""Sellers work on their own deals, managers on all, and a job writes reports."""

import time

API = "/api/v1/apps/sample_app"
COMPANIES = f"{API}/collections/companies"
DEALS = f"{API}/collections/deals"
REPORTS = f"{API}/collections/reports"


def create(client, path, **values):
    answer = client.post(path, json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def run_job(client, **payload):
    """Run a job until it has ended, and return it."""
    job = client.post(f"{API}/jobs", json={"payload": payload}).json()["job_id"]
    for _ in range(200):
        state = client.get(f"{API}/jobs/{job}").json()
        if state["status"] in ("completed", "failed"):
            return state
        time.sleep(0.1)
    raise AssertionError(state)


def test_a_seller_works_on_own_deals_only(app):
    ann, bob = (app.user(roles={"sample_app": ["seller"]}) for _ in range(2))
    company = create(ann, COMPANIES, name="Acme", industry="Retail")
    deal = create(ann, DEALS, title="Chairs", value=900, company_id=company["id"])
    assert deal["stage"] == "lead"
    assert ann.patch(f"{DEALS}/{deal['id']}", json={"stage": "won"}).json()["stage"] == "won"
    assert bob.get(f"{DEALS}/{deal['id']}").status_code == 404
    assert bob.patch(f"{DEALS}/{deal['id']}", json={"value": 1}).status_code == 404
    assert bob.get(f"{COMPANIES}/{company['id']}").status_code == 200
    assert bob.delete(f"{COMPANIES}/{company['id']}").status_code == 403


def test_a_manager_sees_the_deals_of_all(app):
    seller = app.user(roles={"sample_app": ["seller"]})
    manager = app.user(roles={"sample_app": ["manager"]})
    viewer = app.user(roles={"sample_app": ["viewer"]})
    deal = create(seller, DEALS, title="Desks", value=50)
    assert manager.patch(f"{DEALS}/{deal['id']}", json={"value": 60}).json()["value"] == 60
    assert viewer.get(f"{DEALS}/{deal['id']}").json()["value"] == 60
    assert viewer.patch(f"{DEALS}/{deal['id']}", json={"value": 70}).status_code == 403


def test_a_company_is_there_once(app):
    seller = app.user(roles={"sample_app": ["seller"]})
    create(seller, COMPANIES, name="Bolt")
    assert seller.post(COMPANIES, json={"name": "Bolt"}).status_code == 400


def test_the_pipeline_counts_what_the_caller_sees(app):
    seller = app.user(roles={"sample_app": ["seller"]})
    for stage, value in (("lead", 1000), ("proposal", 200), ("proposal", 300), ("won", 40)):
        create(seller, DEALS, title="Lamps", stage=stage, value=value)
    call = {"method": "pipeline", "params": {}}
    pipeline = seller.post(f"{API}/rpc", json=call).json()
    by_stage = {row["stage"]: (row["count"], row["value"]) for row in pipeline["stages"]}
    assert by_stage["proposal"] == (2, 500)
    assert by_stage["lost"] == (0, 0)
    assert (pipeline["open"], pipeline["won"]) == (1500, 40)
    assert pipeline["forecast"] == 350


def test_a_job_writes_a_report(app):
    seller = app.user(roles={"sample_app": ["seller"]})
    for value in (10, 40, 30, 20):
        create(seller, DEALS, title=f"Shelves {value}", value=value)
    job = run_job(seller, type="report", title="March")
    assert (job["status"], job["progress"]) == ("completed", 1)
    report = seller.get(f"{REPORTS}/{job['result']['report']}").json()
    assert (report["title"], report["open_value"], report["won_value"]) == ("March", 100, 0)
    lead = report["stages"][0]
    assert [deal["value"] for deal in lead["largest"]] == [40, 30, 20]


def test_a_deal_holds_documents(app):
    ann, bob = (app.user(roles={"sample_app": ["seller"]}) for _ in range(2))
    file = ann.post(f"{API}/files?name=offer.txt", content=b"Two chairs.").json()
    deal = create(ann, DEALS, title="Chairs", documents=[file["id"]])
    assert [document["name"] for document in deal["documents"]] == ["offer.txt"]
    assert ann.get(f"{API}/files/{file['id']}").content == b"Two chairs."
    assert bob.get(f"{API}/files/{file['id']}").status_code == 404
    program = ann.post(f"{API}/files?name=run.exe", content=b"MZ\x90\x00" + bytes(200)).json()
    refused = ann.patch(f"{DEALS}/{deal['id']}", json={"documents": [program["id"]]})
    assert refused.status_code == 400
