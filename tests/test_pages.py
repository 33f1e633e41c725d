"""Pages name what exists, and their code runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import click
import httpx
import pytest

from docs.pages import cli
from docs.pages.code import with_contrib
from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.hooks.plugin import KERNEL_API
from kernel.loading.loader import load
from tests.kernel.processes import Served, caudex
from tests.pages import (
    ROOT,
    SPAN,
    alike,
    anchors,
    blocks,
    code,
    every_page,
    last_reply,
    links,
    run_shell,
    section,
    write_files,
)
from tests.waiting import eventually

PAGES = every_page()
FOLDERS = [".", "contrib", "docs", "examples", "plugins"]
TARGET = re.compile(r"(?<![\w.-])make ([a-z][a-z-]*)")
COMMAND = re.compile(
    r"^\s*(?:sudo -u \w+ )?(?:\w+=\S+ )*(?:\S*/)?caudex ([a-z][a-z-]*)(.*)", re.MULTILINE
)


def page(name):
    return (ROOT / "docs" / name).read_text("utf-8")


def title(path):
    return path.relative_to(ROOT).as_posix()


def folder_of(path):
    return path.relative_to(ROOT).parts[0] if path.parent != ROOT else "."


def in_folder(name):
    return {path: path.read_text("utf-8") for path in PAGES if folder_of(path) == name}


of_each_folder = pytest.mark.parametrize(
    "pages", [in_folder(name) for name in FOLDERS], ids=FOLDERS
)


def options(command):
    """Options of a command and of its actions."""
    params = command.get_params(click.Context(command, help_option_names=["-h", "--help"]))
    found = {option for param in params for option in param.opts}
    return found.union(*map(options, getattr(command, "commands", {}).values()))


@pytest.fixture(scope="module")
def commands():
    """The commands of the kernel and of every plugin, contrib's among them."""
    kernels = (load(load_config(environ={})), *with_contrib())
    found = {name: each for kernel in kernels for name, each in cli.commands(kernel).items()}
    assert "vault-file" in found
    return found


@of_each_folder
def test_every_link_leads_somewhere(pages):
    wrong = []
    for path, text in pages.items():
        for link in links(text):
            if re.match(r"[a-z]+:", link):
                wrong += [] if link.startswith("https://") else [f"{title(path)}: {link}"]
                continue
            target, _, anchor = link.partition("#")
            there = (path.parent / target).resolve() if target else path
            if not there.exists() or (anchor and anchor not in anchors(there.read_text("utf-8"))):
                wrong.append(f"{title(path)}: {link}")
    assert wrong == []


@of_each_folder
def test_every_make_target_and_every_command_with_its_options_exists(pages, commands):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    wrong = []
    for path, text in pages.items():
        for piece in code(text):
            wrong += [f"{title(path)}: make {it}" for it in set(TARGET.findall(piece)) - targets]
            for name, rest in COMMAND.findall(piece):
                given = set(re.findall(r"(?<!\S)--[a-z-]+", rest.split(" #")[0]))
                if name not in commands or not given <= options(commands[name]):
                    wrong.append(f"{title(path)}: caudex {name}{rest}")
    assert wrong == []


def test_every_page_is_checked():
    assert {folder_of(path) for path in PAGES} == set(FOLDERS)


def test_every_page_of_the_documentation_is_in_the_index():
    index = page("README.md")
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").as_posix()
        assert name == "README.md" or f"({name})" in index, name


def test_decisions_are_numbered_without_gaps():
    numbers = sorted(path.name[:4] for path in (ROOT / "docs/adr").glob("*.md"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


@pytest.mark.slow
def test_the_quickstart_can_be_followed(make_server, tmp_path):
    text = page("quickstart.md")
    assert write_files(text, tmp_path) == ["rules.py"]
    server = make_server({"server": {"plugin_files": [str(tmp_path / "rules.py")]}})
    outputs = run_shell(text, server.url, tmp_path)
    for output, shown in outputs:
        if shown is not None:
            assert alike(last_reply(output)) == shown
        refused = [line for line in output.splitlines() if '"error"' in line]
        assert len(refused) == (isinstance(shown, dict) and "error" in shown), output
    assert '"setupRequired":true' in outputs[0][0]
    assert '"due":"2031-03-01"' in outputs[4][0]
    assert '"compliant":false' in outputs[4][0]
    assert '"title"' not in outputs[-1][0]
    assert '"due":"2031-01-02"' in outputs[-1][0]


def guide():
    return page("howto/write-a-plugin.md")


@pytest.mark.slow
def test_the_plugin_of_the_guide_grows_while_its_server_runs(database, tmp_path):
    first = next(each.text for each in blocks(guide()) if each.text.startswith("# hello.py"))
    (tmp_path / "hello.py").write_text(first, "utf-8")
    words = ("--reload", "--plugin", "hello.py", "--data-dir", str(tmp_path / "data"))
    with Served(*words, cwd=tmp_path, env={"DATABASE_URL": database}) as server:
        answer = server.get("/api/v1/hello")
        assert answer.json() == {"hello": "world"}
        assert "hello" in answer.headers["server-timing"]
        write_files(guide(), tmp_path)
        eventually(lambda: status_of(server) == 401, 40, lambda: server.err)


def status_of(server):
    """What the route answers; nothing while the server restarts."""
    try:
        return server.get("/api/v1/hello").status_code
    except httpx.TransportError:
        return None


@pytest.mark.slow
def test_the_plugin_of_the_guide_passes_its_tests(postgres, tmp_path):
    names = write_files(guide(), tmp_path)
    assert set(names) == {
        "hello.py", "hello_migrations/0001_guests.sql", "caudex.toml", "test_hello.py", "on.toml",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hello.py"],
        cwd=tmp_path, env={**os.environ, "CAUDEX_TEST_DATABASE_URL": postgres.url},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@pytest.mark.slow
def test_the_plugin_of_the_guide_can_be_tried_by_hand(make_server, tmp_path):
    text = section(guide(), "Everything a plugin can have")
    write_files(text, tmp_path)
    config = tomllib.loads((tmp_path / "caudex.toml").read_text("utf-8"))
    server = make_server(config, plugins=[tmp_path / "hello.py"])
    [(output, shown)] = run_shell(text, server.url, tmp_path)
    assert last_reply(output) == shown
    assert '"error"' not in output


def test_the_configuration_of_the_guide_is_good(tmp_path):
    write_files(guide(), tmp_path)
    overrides = {"server.plugin_files": [str(tmp_path / "hello.py")]}
    kernel = load(load_config(str(tmp_path / "caudex.toml"), environ={}, overrides=overrides))
    [plugin] = [each for each in kernel.instances if each.name == "hello"]
    assert plugin.config.word == "Ahoy"


@pytest.mark.slow
def test_the_package_of_the_guide_has_what_the_guide_says(tmp_path):
    text = section(guide(), "Keep it as a file, or make a package")
    [shell] = [block.text for block in blocks(text) if block.language == "sh"]
    made, entered, installed, tested, _ = shell.splitlines()
    assert caudex(*made.split()[1:], cwd=tmp_path).status == 0
    package = tmp_path / entered.removeprefix("cd ")
    files = {path.name for path in package.rglob("*")}
    rows = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    assert len(rows) == 11
    for name in (Path(name).name for row in rows for name in SPAN.findall(row)):
        assert name in files, name
    project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))
    [(name, target)] = project["project"]["entry-points"]["caudex.plugins"].items()
    assert f'{name} = "{target}"' in text
    assert "testing" in project["project"]["optional-dependencies"]
    assert (installed, tested) == ("pip install -e '.[testing]'", "pytest")


MISTAKES = re.findall(
    r"^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \| (.+) \|$",
    section(page("howto/write-a-plugin.md"), "When it breaks"),
    re.MULTILINE,
)


def test_the_guide_shows_every_kind_of_mistake():
    assert len(MISTAKES) >= 12


@pytest.mark.parametrize(("name", "was", "became", "said"), MISTAKES, ids=lambda cell: cell[:30])
def test_a_mistake_is_reported_as_the_guide_says(tmp_path, name, was, became, said):
    write_files(guide(), tmp_path)
    path = tmp_path / name
    text = path.read_text("utf-8")
    assert was in text
    path.write_text(text.replace(was, became, 1), "utf-8")
    overrides = {"server.plugin_files": [str(tmp_path / "hello.py")]}
    with pytest.raises(BootError) as caught:
        load(load_config(str(tmp_path / "caudex.toml"), environ={}, overrides=overrides))
    assert str(caught.value).replace(f"{tmp_path}/", "") == said


def test_a_handler_that_fails_answers_as_the_guide_says(make_server, tmp_path):
    write_files(guide(), tmp_path)
    plugin = tmp_path / "hello.py"
    line = "return reply(await statements.fetch(NEWEST, self.config.word))"
    text = plugin.read_text("utf-8")
    assert line in text
    plugin.write_text(text.replace(line, 'raise ValueError("a mistake")'), "utf-8")
    answer = make_server(plugins=[plugin]).admin.get("/api/v1/hello")
    assert (answer.status_code, "x-request-id" in answer.headers) == (500, True)
    said = answer.json()["error"].replace(answer.headers["x-request-id"], "…")
    assert f"`{said}`" in section(guide(), "When it breaks")


def test_a_hook_that_fails_is_shown_with_its_place(make_server, tmp_path):
    write_files(guide(), tmp_path)
    plugin = tmp_path / "hello.py"
    line = "contact = msgspec.json.decode("
    text = plugin.read_text("utf-8")
    assert line in text
    plugin.write_text(text.replace(line, f"1 / 0\n            {line}"), "utf-8")
    server = make_server(plugins=[plugin])
    field = {"name": "first_name", "type": "text"}
    contract = [{"entityName": "contacts", "fields": [field]}]
    server.install({"appId": "crm", "name": "CRM", "dataContract": contract})
    contacts = "/api/v1/apps/crm/collections/contacts"
    assert server.admin.post(contacts, json={"first_name": "Ada"}).status_code == 500
    assert server.admin.get(contacts).json() == []
    shown = server.admin.get("/api/v1/plugins").json()["plugins"]
    [hello] = [each for each in shown if each["name"] == "hello"]
    [hook] = [each for each in hello["hooks"] if each["hook"] == "event_recorded"]
    assert (hook["calls"], hook["errors"]) == (1, 1)
    assert hook["last_error"]["error"].startswith(f"ZeroDivisionError at {plugin}:")


def test_the_number_of_the_kernel_api_in_the_guide_is_right():
    assert f"now {KERNEL_API}." in section(guide(), "What is stable")


@pytest.mark.slow
def test_the_api_can_be_browsed_as_the_guide_says(make_server, tmp_path):
    text = page("howto/browse-the-api.md")
    assert write_files(text, tmp_path) == ["caudex.toml", "things.py"]
    assert loaded(tmp_path, "caudex.toml").config.plugins == {"openapi": {}}
    more = {"plugin_files": [str(tmp_path / "things.py")]}
    server = make_server({"server": more, "plugins": {"openapi": {}}})
    outputs = run_shell(text, server.url, tmp_path)
    shown = [(last_reply(output), expected) for output, expected in outputs if expected is not None]
    assert len(shown) == 3
    for reply, expected in shown:
        assert reply == expected
    assert server.http.get("/api/v1/docs").status_code == 200
    reported = json.loads((tmp_path / "server.json").read_text("utf-8"))["paths"]["/api/v1/things"]
    assert reported["get"]["summary"] == "List things by name."
    assert [each["name"] for each in reported["get"]["parameters"]] == ["limit"]


@pytest.fixture
def switches(tmp_path, monkeypatch):
    write_files(page("howto/switch-plugins.md"), tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def loaded(folder: Path, name: str):
    return load(load_config(str(folder / name), environ={}))


def test_a_plugin_is_switched_off_as_the_guide_says(switches):
    kernel = loaded(switches, "off.toml")
    assert "vault" not in [plugin.name for plugin in kernel.instances]
    with pytest.raises(BootError, match="plugin data: needs the service 'apps', which no plugin"):
        load(load_config(None, environ={}, overrides={"plugins.apps": {"enabled": False}}))


def test_an_engine_is_swapped_as_the_guide_says(switches, make_server):
    tree = {
        "plugins": {"audit_elsewhere": {"module": "audit_elsewhere"}},
        "services": {"audit": "audit_elsewhere"},
    }
    server = make_server(tree)
    assert loaded(switches, "swap.toml").services.provider("audit") == "audit_elsewhere"
    assert server.admin.get("/api/v1/audit").json() == [{"id": 1, "operation": "ELSEWHERE"}]
    assert server.user().get("/api/v1/audit").status_code == 403
    assert server.admin.get("/api/v1/audit?limit=x").status_code == 400
    with pytest.raises(BootError, match="2 plugins provide it"):
        make_server({"plugins": tree["plugins"]})


def test_a_plugin_is_left_out_as_the_guide_says(switches):
    states = {info.name: info.state for info in loaded(switches, "degrade.toml").plugins}
    assert states["rules"] == "degraded"


@pytest.mark.parametrize("name", ["caudex.toml", "pooler.toml"])
def test_the_configurations_for_production_are_good(name, tmp_path):
    write_files(page("howto/run-in-production.md"), tmp_path)
    assert loaded(tmp_path, name).config.source.endswith(name)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_the_unit_for_systemd_is_good(tmp_path):
    write_files(page("howto/run-in-production.md"), tmp_path)
    unit = tmp_path / "etc/systemd/system/caudex.service"
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8")))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert "caudex.service" not in done.stderr, done.stderr


@pytest.mark.slow
def test_jobs_are_scheduled_as_the_guide_says(make_server, tmp_path, monkeypatch):
    text = page("howto/schedule-jobs.md")
    assert write_files(text, tmp_path) == ["caudex.toml", "worker.py"]
    assert "cron" in [each.name for each in loaded(tmp_path, "caudex.toml").instances]
    server = make_server({"plugins": {"cron": {"poll_interval": 1}}})
    monkeypatch.setenv("TOKEN", server.admin.tokens["accessToken"])
    outputs = [output for output, _ in run_shell(text, server.url, tmp_path)]
    assert "app 'reports' installed" in outputs[1]
    assert "app 'reports' deployed and started" in outputs[1]
    run = last_reply(outputs[2])
    assert run["state"] == "fired"
    [cron] = last_reply(outputs[3])
    assert (cron["name"], cron["last_run"]) == ("weekly", run)
    assert last_reply(outputs[4]) == [run]
    [job] = last_reply(outputs[5])
    assert job["id"] == run["job_id"]
    assert job["payload"]["cron"] == {"name": "weekly", "due": run["due"]}
    path = f"/api/v1/apps/reports/jobs/{job['id']}"
    ended = ("completed", "failed")
    job = eventually(lambda: (job := server.admin.get(path).json())["status"] in ended and job, 20)
    assert job["result"] == "sent to all for weekly"
    assert last_reply(outputs[6])["enabled"] is False
    said = re.search(r"`(crons\[.*?)`", text)[1]
    wrong = json.loads((tmp_path / "manifest.json").read_text())
    wrong["crons"][0]["schedule"] = "30 25 * * MON"
    answer = server.admin.post("/api/v1/apps", json=wrong)
    assert (answer.status_code, answer.json()) == (400, {"error": said})


@pytest.mark.slow
def test_webhooks_are_sent_as_the_guide_says(make_server, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = page("howto/send-webhooks.md").replace("9200", str(port))
    text = text.replace("python receiver.py", f"{sys.executable} receiver.py")
    assert write_files(text, tmp_path) == ["caudex.toml", "receiver.py"]
    assert "webhooks" in [each.name for each in loaded(tmp_path, "caudex.toml").instances]
    server = make_server({"plugins": {"webhooks": {}}})
    monkeypatch.setenv("TOKEN", server.admin.tokens["accessToken"])
    outputs = [output for output, _ in run_shell(text, server.url, tmp_path)]
    deliveries = last_reply(outputs[2])
    assert [row["event"] for row in deliveries] == ["leave", "enter"]
    assert {row["state"] for row in deliveries} == {"delivered"}
    assert last_reply(outputs[3]) == {"queued": 2}
    lines = (tmp_path / "received.txt").read_text().splitlines()
    assert lines[0] == "test None"
    assert lines[1].startswith("deals.enter {")
    assert "Ten boats" in lines[1]
    assert lines[2] == "deals.leave None"


@pytest.mark.slow
def test_an_app_moves_from_another_server_as_the_guide_says(make_server, tmp_path):
    text = page("howto/move-from-rootcx.md")
    old, new = make_server(), make_server()
    manifest = json.loads((ROOT / "examples/crm/manifest.json").read_text("utf-8"))
    manifest["dataContract"][0]["fields"] += [
        {"name": "parent_id", "type": "entity_link",
         "references": {"entity": "companies", "field": "id"}},
        {"name": "manager_id", "type": "entity_link",
         "references": {"entity": "core:users", "field": "id"}},
    ]  # fmt: skip
    old.admin.post("/api/v1/apps", json=manifest).raise_for_status()
    ida = old.user("ida")
    # As on a server without usernames, whose table of accounts has an email and a hash.
    mail = {"email": "eve@example.com", "password": "Str0ngPass!x"}
    old.http.post("/api/v1/auth/register", json=mail).raise_for_status()
    old.sql("create schema rootcx_system")
    old.sql(
        "create table rootcx_system.users as select id, email, display_name, password_hash, "
        "false as is_system from caudex_auth.users where email is not null"
    )
    path = "/api/v1/apps/crm/collections"
    first = {"name": "Whole", "manager_id": ida.id}
    whole = old.admin.post(f"{path}/companies", json=first).json()
    part = {"name": "Part", "parent_id": whole["id"]}
    part = old.admin.post(f"{path}/companies", json=part).json()
    who = {"first_name": "Ada", "last_name": "L", "company_id": part["id"]}
    contact = old.admin.post(f"{path}/contacts", json=who).json()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shutil.copytree(ROOT / "examples/crm/worker", tmp_path / "worker")
    write_files(text, tmp_path)
    environment = {
        "OLD": old.url, "NEW": new.url, "OLD_DATABASE": old.dsn,
        "CAUDEX_DATABASE__URL": new.dsn, "CAUDEX_DATA_DIR": str(new.kernel.context.data_dir),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    for name, admin in (("OLD_LOGIN", old.admin), ("NEW_LOGIN", new.admin)):
        login = {"username": admin.username, "password": admin.password}
        environment[name] = json.dumps(login)
    outputs = [output for output, _ in run_shell(text, new.url, tmp_path, environment)]
    assert "1 imported, 0 skipped, 0 refused" in outputs[1]
    assert new.http.post("/api/v1/auth/login", json=mail).status_code == 200
    assert "companies: 2 records" in outputs[2]
    assert "deployed and started" in outputs[3]
    companies = {each["name"]: each for each in new.admin.get(f"{path}/companies").json()}
    assert companies["Part"]["parent_id"] == whole["id"] == companies["Whole"]["id"]
    people = {each["username"]: each["id"] for each in new.admin.get("/api/v1/users").json()}
    assert companies["Whole"]["manager_id"] == people["ida"] != ida.id
    [moved] = new.admin.get(f"{path}/contacts").json()
    assert (moved["id"], moved["company_id"]) == (contact["id"], part["id"])


def test_accounts_without_a_username_move(monkeypatch):
    [source] = [each.text for each in blocks(page("howto/move-from-rootcx.md"))
                if each.language == "python"]  # fmt: skip
    for name, value in (("OLD", "o"), ("NEW", "n"), ("OLD_LOGIN", "{}"), ("NEW_LOGIN", "{}")):
        monkeypatch.setenv(name, value)
    script: dict[str, object] = {}
    exec(source[: source.rindex("\nmove(")], script)
    sent = []
    old = [{"id": "1", "email": "Ann@x.org", "displayName": "Ann"}, {"id": "2", "email": "b@x.org"},
           {"id": "3", "username": "cid"}]  # fmt: skip

    def call(server, method, path, body=None):
        if method == "GET":
            return old if server == "old" else [{"id": "9", "username": "b@x.org"}]
        sent.append(body)
        return {"user": {"id": f"new-{len(sent)}"}}

    script["call"] = call
    assert script["move_users"]() == {"1": "new-1", "2": "9", "3": "new-2"}
    assert [{**body, "password": None} for body in sent] == [
        {"email": "Ann@x.org", "display_name": "Ann", "password": None},
        {"username": "cid", "password": None},
    ]


def test_the_server_is_watched_as_the_guide_says(make_server, tmp_path):
    text = page("howto/watch-with-prometheus.md")
    assert write_files(text, tmp_path) == ["caudex.toml", "prometheus.yml", "teapot.py"]
    plugins = load_config(str(tmp_path / "caudex.toml"), environ={}).plugins
    token = plugins["metrics"]["token"]
    assert token in (tmp_path / "prometheus.yml").read_text()
    server = make_server(
        {"plugins": plugins, "server": {"plugin_files": [str(tmp_path / "teapot.py")]}}
    )
    server.http.get("/health")
    asked = set(re.findall(r"\b((?:caudex|process)_[a-z_]+)\b", section(text, "Ask")))
    assert len(asked) >= 9
    asked.add("caudex_teapot_cups")
    shown, ends = set(), time.monotonic() + 30
    while not asked <= shown and time.monotonic() < ends:
        # What takes long to measure, as in a start on a busy machine, is in a later page.
        [(output, _)] = run_shell(text, server.url, tmp_path)
        shown = set(re.findall(r"^([a-z_]+)[{ ]", output, re.MULTILINE))
        time.sleep(0 if asked <= shown else 0.5)
    assert asked <= shown
