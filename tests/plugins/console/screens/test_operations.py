"""Jobs, workers, logs, audit, secrets, plugins and health, in a real browser."""

import io
import json
import tarfile
from datetime import UTC, datetime, timedelta

import pytest

from kernel.testing import Server
from tests.plugins.audit.evidence.support import seal, tamper
from tests.plugins.console.browser import drop, needs_browser, until
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser

WORKER = """
from caudex_worker import Worker

worker = Worker()

@worker.rpc(params={"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}})
def add(params, ctx):
    "Add two numbers."
    worker.log.info(f"adding {params} for {ctx.request_id}")
    return {"sum": params["a"] + params["b"]}

@worker.job("report")
def report(payload, ctx):
    worker.log.info(f"reporting for {ctx.request_id}")
    if payload.get("fail"):
        raise ValueError("no paper left")
    return {"pages": 3}

@worker.job("print", params={"properties": {"pages": {"type": "integer"}}})
def print_pages(payload, ctx):
    "Print some pages."
    return {"printed": payload["pages"]}

worker.run()
"""


def archive(more: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("worker.py")
        code = (WORKER + more).encode()
        info.size = len(code)
        tar.addfile(info, io.BytesIO(code))
    return packed.getvalue()


def site(text: str) -> bytes:
    """The archive of a built site."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("index.html")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_a_frontend_is_deployed_opened_and_put_back(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("apps/crm/frontend")
    page = tab.page
    page.wait_for_selector("text=No frontend is deployed")
    for number in (1, 2):
        page.set_input_files(
            "[aria-label=Archive]",
            {"name": "s.tgz", "mimeType": "application/gzip", "buffer": site(f"page {number}")},
        )
        page.wait_for_selector(f"li:has(b:text-is('{number}')) .tag:has-text('in service')")
    port = crm.url.rpartition(":")[2]
    address = page.get_attribute("a:has-text('Open app')", "href")
    assert address == f"http://crm.localhost:{port}/"
    user = crm.user(roles={"crm": ["admin"]})
    start = new_tab().sign_in(user).open(ready="h1:has-text('Hello')").page
    assert start.get_attribute(".card a:has-text('Open app')", "href") == address
    page.click("button:has-text('Go back to it')")
    page.click("dialog button:has-text('Go back')")
    page.wait_for_selector("li:has(b:text-is('1')) .tag:has-text('in service')")
    shown = crm.http.get("/", headers={"host": f"crm.localhost:{port}"})
    assert shown.text == "page 1"
    page.click("button:has-text('Delete the frontend')")
    page.click("dialog button:has-text('Delete')")
    page.wait_for_selector("text=No frontend is deployed")


@pytest.mark.slow
def test_a_worker_is_deployed_called_and_its_log_read(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("workers/crm")
    page = tab.page
    page.set_default_timeout(60_000)
    page.set_input_files(
        "[aria-label=Archive]",
        {"name": "w.tar.gz", "mimeType": "application/gzip", "buffer": archive()},
    )
    page.wait_for_selector(".tag:has-text('running')")
    page.select_option("label:has-text('Method') select", "add")
    page.wait_for_selector("small:has-text('Add two numbers.')")
    page.fill("#call-a", "2")
    page.fill("#call-b", "3")
    page.click("button:has-text('Call')")
    page.wait_for_selector("pre:has-text('\"sum\": 5')")
    assert page.locator("td .tag:has-text('running')").count() == 1
    drop(page, ".drop", "w2.tar.gz", archive("# two"))
    page.click("li:has-text('1') button:has-text('Go back to it')")
    page.click("dialog button.danger")
    page.wait_for_selector(".toast:has-text('version 1 of worker')")
    page.wait_for_selector("li:has-text('1') .tag:has-text('in service')")
    tab.open("logs/crm")
    page.wait_for_selector(".ll.info:has-text('adding')")
    page.fill("[data-filter]", "nothing like this")
    page.wait_for_selector("text=No line matches")
    page.fill("[data-filter]", "")
    page.click("text=Pause")
    crm.admin.post("/api/v1/apps/crm/rpc", json={"method": "add", "params": {"a": 7, "b": 8}})
    page.wait_for_timeout(700)
    assert page.query_selector(".ll:has-text(\"'a': 7\")") is None
    page.click("text=Resume")
    page.wait_for_selector(".ll:has-text(\"'a': 7\")")
    page.click(".ll:has-text(\"'a': 7\") a:has-text('request')")
    page.wait_for_url("**requests/**")
    page.wait_for_selector("text=crm.add")
    _jobs(crm, tab)


def _jobs(crm: Server, tab) -> None:
    path = "/api/v1/apps/crm/jobs"
    body = {"payload": {"type": "report", "fail": True}, "max_attempts": 10}
    failing = crm.admin.post(path, json=body).json()["job_id"]
    tab.open("logs/crm")
    page = tab.page
    page.click(f".ll:has-text('{failing}') a:has-text('job')")
    page.wait_for_selector(".timeline li:has-text('Attempt') :text('no paper left')")
    page.click("dialog button:has-text('Cancel the job')")
    page.wait_for_selector(".toast:has-text('Cancelled')")
    crm.admin.post(path, json={"payload": {"type": "report", "fail": True}})
    tab.open("jobs/crm", ready=".hour svg")
    page.click("text=New job")
    page.select_option("dialog label:has-text('Type') select", "report")
    page.click("dialog button:has-text('Enqueue')")
    page.wait_for_selector(".tag.good:has-text('completed')")
    page.click("text=New job")
    page.select_option("dialog label:has-text('Type') select", "print")
    page.wait_for_selector("dialog small:has-text('Print some pages.')")
    page.fill("#call-pages", "3")
    page.click("dialog button:has-text('Enqueue')")
    page.wait_for_selector("dialog", state="detached")
    payloads = [job["payload"] for job in crm.admin.get(path).json()]
    assert {"type": "print", "pages": 3} in payloads
    page.wait_for_selector(".tabs button:has-text('failed') small:has-text('1')")
    page.click(".tabs button:has-text('failed')")
    page.wait_for_selector("td:has-text('no paper left')")
    assert "status=failed" in page.url
    page.click("td button.link")
    page.wait_for_selector("dialog .notice:has-text('no paper left')")
    page.click("dialog button:has-text('Run again')")
    page.wait_for_selector(".toast:has-text('Enqueued again')")
    assert "job=" not in page.url
    page.click("text=Retry all that are failed")
    sent: list[str] = []
    tab.on("request", lambda r: r.method == "POST" and sent.append(r.url))
    page.click("dialog button:has-text('Retry')")
    page.wait_for_selector(".toast:has-text('jobs done')")
    assert [url.rsplit("/", 1)[1] for url in sent] == ["retry"]
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette input")
    page.keyboard.type("report")
    page.click(".palette li:has-text('Job')")
    page.wait_for_selector("dialog[aria-label=Job] h2")
    page.keyboard.press("Escape")


def test_pending_jobs_are_cancelled_one_and_all(crm: Server, new_tab):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"payload": {"type": "later"}, "run_at": tomorrow}
    # Another test may have left some that are tried again.
    assert crm.admin.post("/api/v1/apps/crm/jobs/cancel", json={"status": "pending"}).is_success
    for _ in range(3):
        assert crm.admin.post("/api/v1/apps/crm/jobs", json=body).status_code == 201
    page = new_tab().sign_in(crm.admin).open("jobs/crm?status=pending").page
    page.click("tr:has-text('later') button:has-text('Cancel')")
    until(page, "document.querySelectorAll('td button.small').length === 2")
    page.click("text=Cancel all that are pending")
    page.click("dialog button.danger")
    page.wait_for_selector(".toast:has-text('2 jobs done')")
    page.wait_for_selector("tr:has-text('later')", state="detached")
    counts = crm.admin.get("/api/v1/apps/crm/jobs/counts").json()
    assert counts["pending"] == 0
    assert counts["cancelled"] >= 3


def test_an_attempt_that_was_interrupted_says_so(crm: Server, new_tab):
    path = "/api/v1/apps/crm/jobs"
    job = crm.admin.post(path, json={"payload": {"type": "cut"}}).json()["job_id"]
    tab = new_tab().sign_in(crm.admin).open("health")
    at = "2031-01-01T10:00:00Z"
    tries = [{"started_at": at, "ended_at": at, "error": error} for error in (None, "torn", None)]
    tab.page.route("**/attempts", lambda route: route.fulfill(json=tries))
    page = tab.open(f"jobs/crm?job={job}", ready="dialog .timeline").page
    said = page.locator(".timeline li:has-text('Attempt')").all_inner_texts()
    assert ["ended before the job" in each for each in said] == [True, False, False]
    page.unroute("**/attempts")
    crm.admin.post(f"{path}/{job}/cancel")  # a worker of the app may have ended it


def test_the_log_resumes_behind_its_last_line(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("health")
    asked: list[str | None] = []

    def answer(route):
        asked.append(route.request.headers.get("last-event-id"))
        line = {"level": "info", "message": f"line {len(asked)}", "ts": "2031-01-01T10:00:00Z"}
        body = f"id: {6 + len(asked)}\ndata: {json.dumps(line)}\n\n"
        route.fulfill(content_type="text/event-stream", body=body)

    tab.page.route("**/logs?tail=500", answer)
    tab.open("logs/crm", ready=".ll:has-text('line 1')")
    tab.page.wait_for_selector(".ll:has-text('line 2')")
    assert asked[:2] == [None, "7"]
    assert tab.page.locator(".ll > span").all_inner_texts()[:2] == ["line 1", "line 2"]
    tab.page.unroute("**/logs?tail=500")


def test_the_log_jumps_to_a_time_and_shows_a_level(crm: Server, new_tab):
    crm.install({"appId": "aged", "name": "Aged", "dataContract": []})
    crm.sql(
        "insert into caudex_logs.lines (app_id, level, message, ts) select 'aged',"
        " case when n % 1000 = 0 then 'error' else 'info' end, 'line ' || n,"
        " timestamptz '2031-01-01 10:00Z' + n * interval '1 second' from generate_series(1, 9000) n"
    )
    tab = new_tab(timezone_id="Europe/Berlin").sign_in(crm.admin)
    page = tab.open("logs/aged", ready=".ll:has-text('line 9000')").page
    page.wait_for_selector(".loglines h3:has-text('1 January 2031')")
    assert page.query_selector(".ll:has-text('line 1200')") is None
    page.fill("[aria-label='From this time']", "2031-01-01T11:20")
    page.keyboard.press("Tab")
    page.wait_for_selector(".ll:has-text('line 1200')")
    assert page.inner_text(".ll >> nth=0").split()[0] == "11:20:00.000"
    assert page.is_visible(".ll >> nth=0")
    assert "at=2031-01-01T11" in page.url
    page.select_option("[aria-label=Level]", "error")
    page.wait_for_selector(".ll:has-text('line 3000')")
    assert set(page.locator(".ll b").all_inner_texts()) == {"error"}
    page.click("button:has-text('Next lines')")
    page.wait_for_selector(".ll:has-text('line 5000')")
    assert page.query_selector(".ll:has-text('line 3000')") is None
    page.click("[aria-label^='Copy as']")
    assert "since=2031-01-01T10%3A20" in page.inner_text("dialog pre")


def test_crons_show_their_next_times_and_run_now(crm: Server, new_tab):
    cron = {"name": "sweep", "schedule": "30 8 * * 1-5"}
    crm.install({"appId": "timed", "name": "Timed", "dataContract": [], "crons": [cron]})
    page = new_tab().sign_in(crm.admin).open("jobs/timed").page
    row = ".crons tr:has-text('sweep')"
    page.wait_for_selector(f"{row} :text('on weekdays at 08:30')")
    assert page.locator(f"{row} td:nth-child(3) span").count() == 5
    page.click(f"{row} button:has-text('Run now')")
    page.wait_for_selector(f"{row} td:has-text('fired')")
    page.click(f"{row} button:has-text('Disable')")
    page.wait_for_selector(f"{row} .tag:has-text('disabled')")


def test_a_user_without_the_permission_sees_no_way_to_the_log(crm: Server, new_tab):
    reader = crm.user(permissions={"crm": ["deals.read"]})
    page = new_tab().sign_in(reader).open("logs/crm").page
    assert "no app here that you may look at" in page.inner_text("main")
    side = page.inner_text("nav.side")
    assert "Jobs" in side  # one's own
    assert "Logs" not in side
    operator = crm.user(permissions={"crm": ["core:logs.read"]})
    page = new_tab().sign_in(operator).open("logs/crm").page
    page.wait_for_selector("nav.side a:has-text('Logs')")
    page.wait_for_selector("[role=status]:has-text('live')")


def test_a_secret_is_set_and_never_shown(crm: Server, new_tab):
    crm.admin.delete("/api/v1/apps/crm/secrets/API_KEY")  # of another test
    tab = new_tab().sign_in(crm.admin).open("secrets/crm")
    page = tab.page
    page.click("button:has-text('New secret')")
    page.fill("dialog input", "PATH")
    page.fill("dialog textarea", "hunter2")
    tab.allow(400)
    page.click("dialog button:has-text('Set')")
    page.wait_for_selector("dialog [role=alert]")
    page.fill("dialog input", "SMTP_PASSWORD")
    page.click("dialog button:has-text('Set')")
    page.wait_for_selector("td:has-text('SMTP_PASSWORD')")
    page.wait_for_selector("tr:has-text('SMTP_PASSWORD') td:has-text('never')")
    assert "hunter2" not in page.content()
    crm.sql("update caudex_vault.secrets set used_at = now(), used_by = 'crm'")
    page.reload()
    page.wait_for_selector("tr:has-text('SMTP_PASSWORD') :text('by the worker of crm')")
    page.click("[aria-label='Delete SMTP_PASSWORD']")
    page.click("dialog button.danger")
    page.wait_for_selector("text=No secrets")


def test_a_core_admin_sees_whether_the_trail_is_as_it_was_sealed(crm: Server, new_tab):
    crm.admin.post(f"{DATA}/deals", json={"title": "Sealed", "stage": "Lead"})
    seal(crm)
    tab = new_tab().sign_in(crm.admin).open("audit?app=crm", ready=".evidence .tag.good")
    page = tab.page
    assert "up to" in page.inner_text(".evidence")
    [(row_id, xid)] = crm.sql(
        "select last_id, xid from caudex_audit.seals join caudex_audit.log on id = last_id"
        " order by id desc limit 1"
    )
    tamper(crm, f"update caudex_audit.log set xid = '1' where id = {row_id}")
    try:
        tab.open("audit", ready=".evidence .tag.bad")
        assert f"Row {row_id} was changed" in page.inner_text(".evidence")
    finally:
        tamper(crm, f"update caudex_audit.log set xid = '{xid}' where id = {row_id}")
    other = new_tab().sign_in(crm.user(roles={"crm": ["admin"]})).open("audit?app=crm")
    other.page.wait_for_selector(".trail li")
    assert other.page.query_selector(".evidence") is None


def test_the_trail_leads_from_a_change_to_its_request(crm: Server, new_tab):
    deal = crm.admin.post(f"{DATA}/deals", json={"title": "Audited", "stage": "Lead"}).json()
    headers = {"x-request-id": "console-test-1"}
    crm.admin.patch(f"{DATA}/deals/{deal['id']}", json={"value": 5}, headers=headers)
    # Beyond what one page of the trail shows.
    more = [{"title": f"Later {n}", "stage": "Lead"} for n in range(1000)]
    assert crm.admin.post(f"{DATA}/deals/bulk", json=more).is_success
    tab = new_tab().sign_in(crm.admin).open(f"audit?app=crm&record={deal['id']}")
    page = tab.page
    page.click("li:first-child [aria-label='Show the change']")
    page.wait_for_selector("ins:has-text('5')")
    page.click("button:has-text('request console-test-1')")
    page.wait_for_url("**request=console-test-1**")
    until(page, "document.querySelectorAll('.trail li').length === 1")
    tab.open("audit?app=crm")
    for label, choice in {"Table": "deals", "Operation": "UPDATE", "By": crm.admin.id}.items():
        page.select_option(f"select[aria-label={label}]", choice)
        page.wait_for_url(f"**={choice}**")
    page.wait_for_selector(".trail li:has-text('update')")
    assert page.query_selector(".trail li:has-text('insert')") is None


def test_an_admin_of_an_app_reads_its_trail_only(crm: Server, new_tab):
    manager = crm.user(roles={"crm": ["admin"]})
    page = new_tab().sign_in(manager).open("audit").page
    page.wait_for_selector(".trail li")
    assert "This server" not in page.inner_text("[aria-label=App]")


def test_plugins_show_their_readme_hooks_and_routes(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("plugins")
    page = tab.page
    page.click("td a:has-text('rbac')")
    page.wait_for_selector(".md h2")
    text = page.inner_text("main")
    assert "POST /api/v1/permissions/explain" in text
    assert "app_installing" in text
    assert page.inner_text(".head .tag") == "on"
    for part in ("p50", "p99", "Last error", "Provides", "Requires", "Migrations"):
        assert part in text
    page.wait_for_selector(".spark", timeout=15_000)
    page.click("text=Show what would change")
    page.wait_for_selector("dialog h2:has-text('would not start')")
    page.keyboard.press("Escape")
    tab.open("plugins/console")
    assert page.inner_text("li:has(code:text-is('name')) .tag") not in ("", "default")
    assert page.inner_text("li:has(code:text-is('colour')) .dim") == "default"


def test_health_shows_the_database(crm: Server, new_tab):
    page = new_tab().sign_in(crm.user()).open("health").page
    page.wait_for_selector(".card:has-text('postgres') .tag.good:has-text('Online')")
    text = page.inner_text("main")
    assert "GB" in text
    assert page.get_attribute("a:has-text('API')", "href") == "/api/v1/docs"
    assert "waiting" in text
    assert "last made" in text  # the last backup, or never
