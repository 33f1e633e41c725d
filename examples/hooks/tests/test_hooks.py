"""Every hook has an example, and the example does what it says: all of them on one server."""

import io
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.contracts import hookspecs
from kernel.contracts.statements import STATEMENTS, Transaction
from kernel.public import server_actor
from kernel.testing import PASSWORD, Client, MakeServer, Server, ServerOptions

HERE = Path(__file__).parents[1]
FILES = sorted(HERE.glob("*.py"))
ORDERS = "/api/v1/apps/shop/collections/orders"
SHOP: dict[str, Any] = {
    "appId": "shop",
    "name": "Shop",
    "reminders": ["count the till"],
    "dataContract": [
        {
            "entityName": "orders",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "region", "type": "text"},
                {"name": "total", "type": "number"},
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    key = {"key": "k3y", "username": "machine_till"}
    hosts = {"hosts": {"shop.example.test": "shop"}}
    own = {"frontends": {"enabled": False}}  # it would answer at the hosts of apps
    plugins = {"authenticate": key, "app_of_host": hosts, **own}
    return {"plugins": FILES, "config": {"plugins": plugins}}


@pytest.fixture(scope="module")
def shop(server: Server) -> Server:
    """The server with the app `shop`, whose orders every clerk may write."""
    assert server.install(SHOP).get("ignored", []) == []
    role = {"name": "clerk", "permissions": ["orders.*"]}
    assert server.admin.post("/api/v1/apps/shop/roles", json=role).status_code == 200
    return server


def example(server: Server, name: str) -> Any:
    """The plugin object of an example."""
    return next(plugin for plugin in server.kernel.instances if plugin.name == name)


def soon(look: Callable[[], bool]) -> bool:
    """Whether something becomes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def ordered(client: Client, **values: Any) -> dict[str, Any]:
    answer = client.post(ORDERS, json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def caudex(server: Server, folder: Path, *words: str) -> str:
    """What a command prints, with the examples switched on and the server's database."""
    config, data_dir = folder / "caudex.toml", server.kernel.config.data_dir
    files = ", ".join(f'"{path}"' for path in FILES)
    text = f'[server]\nplugin_files = [{files}]\ndata_dir = "{data_dir}"\nport = 0\n'
    config.write_text(f'{text}[database]\nurl = "{server.dsn}"\n', "utf-8")
    command = [sys.executable, "-m", "kernel", *words, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_every_hook_has_an_example_and_a_test_of_its_name() -> None:
    hooks = {name for name, value in vars(hookspecs).items() if hasattr(value, "caudex_spec")}
    assert {path.stem for path in FILES} == hooks
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert hooks <= tested


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_short_and_implements_the_hook_of_its_name(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.search(rf"def {path.stem}\(\s*self", text)
    assert len(text.splitlines()) <= 60


def test_provide_services(shop: Server) -> None:
    assert shop.kernel.services.provider("prices") == "provide_services"
    assert shop.user().get("/api/v1/prices/tea").json() == {"cents": 250}


def test_register_routes(shop: Server) -> None:
    answer = shop.user("ada").post("/api/v1/sum", json={"numbers": [1, 2.5]})
    assert answer.json() == {"sum": 3.5, "for": "ada"}
    refused = shop.user().post("/api/v1/sum", json={"numbers": ["x"]})
    assert (refused.status_code, "numbers" in refused.json()["error"]) == (400, True)
    assert shop.http.post("/api/v1/sum", json={"numbers": [1]}).status_code == 401


def test_app_of_host(shop: Server) -> None:
    door = shop.http.get("/api/v1/door", headers={"host": "Shop.Example.Test.:8000"})
    assert door.json() == {"app": "shop"}
    assert shop.http.get("/api/v1/door").json() == {"app": None}
    foreign = shop.http.get("/api/v1/door", headers={"host": "other.example.test"})
    assert foreign.status_code == 400


def test_register_middleware(shop: Server) -> None:
    assert shop.http.get("/health").headers["x-office"] == "Lisbon"
    assert "x-office" not in shop.http.get("/nowhere").headers


def test_register_permissions(shop: Server) -> None:
    assert shop.user().get("/api/v1/till").status_code == 403
    cashier = shop.user(permissions={"core": ["till.read"]})
    assert cashier.get("/api/v1/till").json() == {"cents": 12_000}


@pytest.mark.slow
def test_register_commands(shop: Server, tmp_path: Path) -> None:
    said = caudex(shop, tmp_path, "accounts", "--label", "people")
    [(count,)] = shop.sql("select count(*) from caudex_auth.users")
    assert f"people: {count}\n" in said


@pytest.mark.slow
def test_diagnose(shop: Server, tmp_path: Path) -> None:
    said = caudex(shop, tmp_path, "doctor")
    assert "ok     disk: " in said
    assert " MB are free\n" in said


def test_register_manifest_section(shop: Server, make_server: MakeServer) -> None:
    assert example(shop, "register_manifest_section").reminders["shop"] == ["count the till"]
    assert make_server().install(SHOP)["ignored"] == ["reminders"]


def test_address_binding(shop: Server) -> None:
    plugin = example(shop, "address_binding")
    with subprocess.Popen(["sleep", "60"]) as helper:
        plugin.note.write_text(str(helper.pid), "ascii")
        for _ in range(2):
            shop.kernel.bus.collect(hookspecs.address_binding)
        assert helper.wait(5) == -signal.SIGTERM
    assert not plugin.note.exists()


def test_plugins_loaded(shop: Server) -> None:
    before = shop.user().get("/api/v1/requests").json()
    after = shop.user().get("/api/v1/requests").json()
    assert after["plugins_loaded"] == before["plugins_loaded"] + 1


def test_lifespan(make_server: MakeServer) -> None:
    server = make_server(plugins=[HERE / "lifespan.py"])
    user, plugin = server.user(), example(server, "lifespan")
    assert soon(lambda: user.get("/api/v1/ticks").json()["ticks"] > 1)
    assert not plugin.ended
    server.stop()
    assert plugin.ended


def test_authenticate(shop: Server) -> None:
    shop.user("machine_till")
    me = "/api/v1/auth/me"
    good = shop.http.get(me, headers={"x-machine-key": "k3y"})
    assert (good.status_code, good.json()["username"]) == (200, "machine_till")
    bad = shop.http.get(me, headers={"x-machine-key": "k4y"})
    assert (bad.status_code, bad.json()["error"]) == (401, "this machine key opens nothing")
    assert shop.http.get(me).status_code == 401


def test_session_settings(shop: Server) -> None:
    shop.sql("create table public.clerks (name text default current_setting('shop.clerk', true))")

    async def write() -> None:
        async def insert(tx: Transaction) -> None:
            await tx.execute("insert into public.clerks default values")

        await shop.services.get(STATEMENTS).run(server_actor(), insert)

    shop.run(write)
    assert shop.sql("select name from public.clerks") == [("server",)]


def test_record_scope(shop: Server) -> None:
    east = shop.user("east_ada", roles={"shop": ["clerk"]})
    ordered(shop.admin, title="E", region="east")
    theirs = ordered(shop.admin, title="W", region="west")
    assert {order["region"] for order in east.get(ORDERS).json()} == {"east"}
    assert east.get(f"{ORDERS}/{theirs['id']}").status_code == 404
    assert east.patch(f"{ORDERS}/{theirs['id']}", json={"title": "x"}).status_code == 404
    assert shop.admin.get(f"{ORDERS}/{theirs['id']}").json()["title"] == "W"


def test_record_writing(shop: Server) -> None:
    assert ordered(shop.admin, total=3)["title"] == "Untitled"
    refused = shop.admin.post(ORDERS, json={"total": -1})
    assert refused.status_code == 400
    assert refused.json()["error"] == "total: an order costs at least nothing"


def test_event_recorded(shop: Server) -> None:
    count = "select total from caudex_event_recorded.made where entity = 'shop.orders'"
    ordered(shop.admin, total=1)
    [(before,)] = shop.sql(count)
    ordered(shop.admin, total=1)
    assert shop.sql(count) == [(before + 1,)]
    shop.sql("update caudex_event_recorded.made set total = 1000000")
    [(orders,)] = shop.sql("select count(*) from shop.orders")
    refused = shop.admin.post(ORDERS, json={"total": 1})
    assert (refused.status_code, refused.json()["error"]) == (400, "the shop takes no more orders")
    assert shop.sql("select count(*) from shop.orders") == [(orders,)]
    assert shop.sql(count) == [(1_000_000,)]
    shop.sql("update caudex_event_recorded.made set total = 10")


def test_event_committed(shop: Server) -> None:
    record_id = ordered(shop.admin, title="Tea")["id"]
    sent = example(shop, "event_committed").sent
    assert soon(lambda: f"admin: INSERT {record_id}" in sent)


def test_app_installing(shop: Server) -> None:
    refused = shop.admin.post("/api/v1/apps", json={**SHOP, "appId": "trial", "name": "Test 1"})
    assert refused.status_code == 400
    assert refused.json()["error"] == "name: an app is not called a test here"
    assert shop.sql("select to_regnamespace('trial')::text") == [(None,)]


def test_app_planning(shop: Server) -> None:
    contract = [{"entityName": "tmp_orders", "fields": [{"name": "title", "type": "text"}]}]
    manifest = {"appId": "trial", "name": "Trial", "dataContract": contract}
    for path in ("/api/v1/apps/schema/verify", "/api/v1/apps"):
        refused = shop.admin.post(path, json=manifest)
        assert refused.status_code == 400
        assert refused.json()["error"].startswith("tmp_orders: a table for a while")
    assert shop.sql("select to_regnamespace('trial')::text") == [(None,)]


def test_app_changing(shop: Server) -> None:
    ordered(shop.admin, title="boat", total=5)
    text = {"name": "total", "type": "text"}
    fields = [*SHOP["dataContract"][0]["fields"][:2], text]
    shop.install({**SHOP, "dataContract": [{"entityName": "orders", "fields": fields}]})
    view = "select pg_typeof(total)::text from public.all_orders where title = 'boat'"
    assert shop.sql(view) == [("text",)]
    shop.install(SHOP)
    assert shop.sql(view) == [("double precision",)]


def test_app_removing(shop: Server) -> None:
    refused = shop.admin.delete("/api/v1/apps/shop")
    assert refused.status_code == 400
    assert refused.json()["error"] == "the app 'shop' stays: others rely on it"
    assert shop.admin.get(ORDERS).status_code == 200
    shop.install({"appId": "gone", "name": "Gone"})
    assert shop.admin.delete("/api/v1/apps/gone").is_success


def test_account_created(shop: Server) -> None:
    _ = shop.admin
    body = {"username": "eve", "password": PASSWORD, "email": "eve@example.com"}
    refused = shop.http.post("/api/v1/auth/register", json=body)
    assert (refused.status_code, refused.json()["error"][:6]) == (400, "email:")
    assert shop.sql("select 1 from caudex_auth.users where username = 'eve'") == []
    body["email"] = "eve@example.org"
    assert shop.http.post("/api/v1/auth/register", json=body).status_code == 201


def test_account_closing(shop: Server) -> None:
    machine, person = shop.user("machine_scale"), shop.user("person")
    refused = shop.admin.delete(f"/api/v1/users/{machine.id}")
    assert refused.status_code == 400
    assert refused.json()["error"].endswith("cannot be deleted")
    assert machine.get("/api/v1/auth/me").status_code == 200
    assert shop.admin.delete(f"/api/v1/users/{person.id}").is_success


@pytest.fixture(scope="module")
def greeting(shop: Server) -> str:
    """What a worker that is a shell script answers."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(HERE / "worker.sh", "worker.sh")
    form = {"archive": ("worker.tar.gz", packed.getvalue(), "application/gzip")}
    deployed = shop.admin.post("/api/v1/apps/shop/deploy", files=form)
    assert deployed.status_code == 200, deployed.text
    answer = shop.admin.post("/api/v1/apps/shop/rpc", json={"method": "greet", "params": {}})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_register_runtimes(shop: Server, greeting: str) -> None:
    status = shop.admin.get("/api/v1/apps/shop/worker/status").json()
    assert status["status"] == "running"
    assert greeting


def test_worker_environment(greeting: str) -> None:
    assert "Welcome to the shop" in greeting


def test_health(shop: Server) -> None:
    status = shop.admin.get("/api/v1/status").json()
    assert status["mailer"] == {"state": "Online", "queued": 0}
