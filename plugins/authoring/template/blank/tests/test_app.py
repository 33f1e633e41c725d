"""A member works with items, and others are refused."""

ITEMS = "/api/v1/apps/sample_app/collections/items"
RPC = "/api/v1/apps/sample_app/rpc"


def test_a_member_keeps_items(app):
    member = app.user(roles={"sample_app": ["member"]})
    answer = member.post(ITEMS, json={"name": "Tea", "due": "2031-03-01"})
    assert answer.status_code == 201
    item = answer.json()
    assert item["done"] is False
    assert member.patch(f"{ITEMS}/{item['id']}", json={"done": True}).json()["done"] is True


def test_the_worker_counts_items(app):
    member = app.user(roles={"sample_app": ["member"]})
    before = member.post(RPC, json={"method": "summary", "params": {}}).json()
    member.post(ITEMS, json={"name": "Coffee"})
    after = member.post(RPC, json={"method": "summary", "params": {}}).json()
    assert after == {"items": before["items"] + 1, "open": before["open"] + 1}


def test_others_are_refused(app):
    stranger = app.user()
    assert stranger.get(ITEMS).status_code == 403
    assert app.http.get(ITEMS).status_code == 401
