"""Apps that an older release installed: a start fills in what their stored models lack."""

from kernel.testing import MakeServer

MANIFEST = {
    "appId": "shop",
    "name": "Shop",
    "dataContract": [
        {
            "entityName": "people",
            "fields": [
                {"name": "email", "type": "text"},
                {"name": "town", "type": "text"},
                {"name": "street", "type": "text"},
            ],
            "indexes": [
                {"columns": ["email"], "unique": True},
                {"columns": ["town", "street"], "unique": True},
                {"columns": ["street"]},
            ],
        },
        {"entityName": "cups", "fields": [{"name": "title", "type": "text"}]},
    ],
}
MODEL = "select model #>> '{}' from caudex_apps.apps"
AS_BEFORE = """
update caudex_apps.apps set model = replace(
    replace(model #>> '{}', '"unique":[["id"],["email"],["town","street"]]', '"unique":[]'),
    ',"unique":[["id"]]', '')::json"""
FORGET = """
delete from caudex_kernel.migrations where plugin = 'apps';
insert into caudex_kernel.migrations (plugin, name, checksum)
select 'apps', name, '' from unnest(
    array['0001_schema.sql', '0002_search.sql', '0003_manifests.sql']) as name"""


def test_unique_keys_of_an_older_app_are_filled_in(make_server: MakeServer) -> None:
    server = make_server()
    server.install(MANIFEST)
    server.sql(AS_BEFORE)
    server.sql(FORGET)
    [(older_model,)] = server.sql(MODEL)
    assert older_model.count('"unique"') == 1
    server.stop()
    later = make_server(dsn=server.dsn, data_dir=server.kernel.config.data_dir)
    described = later.login("admin").get("/api/v1/apps/shop").json()
    assert [entity["unique"] for entity in described["entities"]] == [
        [["id"], ["email"], ["town", "street"]],
        [["id"]],
    ]
    people = "/api/v1/apps/shop/collections/people/bulk?on=email&then=update"
    answer = later.login("admin").post(people, json=[{"email": "ada@example.com"}])
    assert answer.status_code == 200, answer.text
