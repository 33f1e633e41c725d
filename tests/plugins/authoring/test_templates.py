"""The templates `crm` and `helpdesk` in a real browser: from `app new` to a record with a file."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import PASSWORD, Client, Server, ServerOptions
from tests.plugins.console.browser import Pages, axe_script, chromium, drop, needs_browser
from tests.waiting import eventually

from .support import Author

pytestmark = pytest.mark.slow

PICTURE = Path("docs/pictures/start.png").read_bytes()
PHONE: Any = {"width": 360, "height": 720}
WIDTH = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
AXE = "() => axe.run(document, {resultTypes: ['violations'], preload: false})"
MARKUP = "<img src=x onerror=document.title='run'>"


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"config": {"plugins": {"cron": {}}}}


@pytest.fixture(scope="module")
def crm(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    return deploy(server, tmp_path_factory.mktemp("crm"), "sales", "crm")


@pytest.fixture(scope="module")
def helpdesk(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    return deploy(server, tmp_path_factory.mktemp("helpdesk"), "desk", "helpdesk")


@pytest.fixture(scope="module")
def blank(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    return deploy(server, tmp_path_factory.mktemp("blank"), "stock", "blank")


def deploy(server: Server, folder: Path, name: str, template: str) -> str:
    """Make an app and deploy it, by the two commands alone. Returns where its pages are."""
    author = Author(folder, server)
    author.ok("app", "new", name, "--template", template)
    parts = author.inside(name).json("app", "deploy")["parts"]
    assert [part["state"] for part in parts] == ["changed"] * 4
    return parts[-1]["url"]


class Visitor:
    """A person at a browser."""

    def __init__(self, pages: Pages) -> None:
        self.page = pages.new()
        self.page.set_default_timeout(20_000)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, message: Any) -> None:
        # A 401 asks for the sign-in, and a 400 is shown in the form.
        if message.type == "error" and "status of 40" not in message.text:
            self.problems.append(message.text)

    def sign_in(self, url: str, user: Client) -> None:
        """Open an app, and pass the sign-in of the server."""
        self.page.goto(url)
        self.page.click("main button")
        self.enter(url, user)

    def enter(self, url: str, user: Client) -> None:
        """Fill the form of the server, which leads back to the app."""
        self.page.fill("[name=username]", user.username)
        self.page.fill("[name=password]", PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(f"{url}**")

    def see(self, *texts: str) -> None:
        for text in texts:
            self.page.wait_for_selector(f"text={text}")

    def check(self) -> None:
        """Whatever is open is readable for all, light and dark, and fits a phone."""
        if not self.page.evaluate("Boolean(window.axe)"):
            self.page.evaluate(axe_script())
        wide = self.page.viewport_size
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            violations = self.page.evaluate(AXE)["violations"]
            assert [
                (rule["id"], node["html"]) for rule in violations for node in rule["nodes"]
            ] == []
        self.page.set_viewport_size(PHONE)
        assert self.page.evaluate(WIDTH) == 0
        self.page.set_viewport_size(wide)


@pytest.fixture(scope="module")
def pages(blank: str, crm: str, helpdesk: str) -> Generator[Pages]:
    """A browser. Its loop runs in this thread until the end, so the commands run before."""
    with chromium() as browser:
        yield Pages(browser)


@pytest.fixture
def visitor(pages: Pages) -> Generator[Visitor]:
    visitor = Visitor(pages)
    yield visitor
    visitor.page.context.close()
    assert visitor.problems == []


@needs_browser
def test_a_member_keeps_items(server: Server, blank: str, visitor: Visitor) -> None:
    visitor.page.goto(blank)
    visitor.enter(blank, server.user(roles={"stock": ["member"]}))
    visitor.page.fill("[name=name]", MARKUP)
    visitor.page.click("text=Add")
    visitor.page.wait_for_selector("td:has-text('onerror')")
    visitor.check()
    visitor.page.click("[title=Delete]")
    visitor.page.wait_for_selector("tbody td", state="detached")


@needs_browser
def test_a_seller_moves_a_deal_and_attaches_a_document(
    server: Server, crm: str, visitor: Visitor
) -> None:
    seller = server.user(roles={"sales": ["seller"]})
    visitor.sign_in(crm, seller)
    visitor.see("No deals yet")
    visitor.check()
    page = visitor.page
    page.click("text=Fill with sample data")
    visitor.see("Workbenches", "2 deals · €15,900")
    visitor.check()

    page.click("[aria-label='Move Workbenches to Negotiation']")
    visitor.see("2 deals · €42,400")
    page.drag_and_drop("li:has-text('Bar stools')", "[aria-label=Lost]")
    visitor.see("2 deals · €8,600")

    page.click("text=New deal")
    page.fill("[name=title]", MARKUP)
    page.fill("[name=value]", "750")
    page.select_option("[name=company_id]", label="Alder & Sons")
    visitor.check()
    page.click("dialog >> text=Create")
    visitor.see("The deal is created.", "Alder & Sons", "€750")
    assert page.inner_text("h1") == MARKUP
    assert page.title().startswith(MARKUP)
    upload = {"name": "offer.txt", "mimeType": "text/plain", "buffer": b"Two chairs."}
    page.set_input_files("input[type=file]", upload)
    visitor.see("offer.txt")
    drop(page, ".drop", "plan.png", PICTURE)
    page.wait_for_selector(".preview img")
    visitor.check()
    page.click("[aria-label='Remove plan.png']")
    page.wait_for_selector("text=plan.png", state="detached")
    with page.expect_download() as download:
        page.click("text=offer.txt")
    assert Path(download.value.path()).read_bytes() == b"Two chairs."


@needs_browser
def test_a_company_shows_its_contacts_and_deals(server: Server, crm: str, visitor: Visitor) -> None:
    manager = server.user(roles={"sales": ["manager"]})
    visitor.sign_in(f"{crm}#/companies", manager)
    page = visitor.page
    visitor.see("New company")
    page.click("text=New company")
    page.fill("[name=name]", "Dockside")
    page.click("dialog >> text=Create")
    visitor.see("No deals with this company yet", "No contacts at this company yet")
    page.click("text=New contact")
    page.fill("[name=first_name]", "Noor")
    page.fill("[name=last_name]", "Haddad")
    page.click("dialog >> text=Create")
    visitor.see("Noor Haddad", "1 contact")
    visitor.check()

    page.click("nav >> text=Companies")
    page.click("text=New company")
    page.fill("[name=name]", "Dockside")
    page.click("dialog >> text=Create")
    page.wait_for_selector("dialog [role=alert]:not(:empty)")
    assert "name" in page.inner_text("dialog [role=alert]")
    page.keyboard.press("Escape")
    page.fill("[type=search]", "dock")
    page.wait_for_selector("tbody tr:has-text('Dockside'):only-child")
    page.fill("[type=search]", "nothing")
    visitor.see("Nothing found")

    page.click("nav >> text=Reports")
    page.click("text=Write a report")
    page.wait_for_selector("table")
    visitor.check()


@needs_browser
def test_a_customer_and_an_agent_talk_about_a_ticket(
    server: Server, helpdesk: str, visitor: Visitor, pages: Pages
) -> None:
    customer = server.user(roles={"desk": ["customer"]})
    agent = server.user(roles={"desk": ["agent"]})
    visitor.sign_in(helpdesk, customer)
    visitor.see("No tickets yet")
    page = visitor.page
    page.click("text=New ticket")
    page.fill("[name=subject]", "The lamp is dark")
    page.select_option("[name=category]", "problem")
    page.click("dialog >> text=Open")
    visitor.see("The ticket is open.", "The lamp is dark")
    page.set_input_files(
        "input[type=file]", {"name": "lamp.png", "mimeType": "image/png", "buffer": PICTURE}
    )
    page.wait_for_selector(".preview img")
    assert page.locator("select").count() == 0  # status and assignee are for agents
    visitor.check()

    other = Visitor(pages)
    other.sign_in(helpdesk, agent)
    other.page.click("text=The lamp is dark")
    other.page.select_option("[name=assignee_id]", label=agent.username)
    other.see("Saved.", "lamp.png")
    other.page.fill("textarea", "Order a new one.")
    other.page.check("text=Internal note")
    other.page.click("form >> text=Send")
    other.see("Order a new one.")
    other.page.fill("textarea", "We come tomorrow.")
    other.page.click("form >> text=Send")
    other.see("We come tomorrow.")
    other.check()
    assert other.problems == []
    other.page.context.close()

    page.reload()
    visitor.see("We come tomorrow.", "Waiting for customer", agent.username)
    assert "Order a new one." not in page.inner_text("main")
    page.click("text=It is solved")
    visitor.see("It is solved.", "Closed")


@needs_browser
def test_a_user_without_a_role_reads_why_nothing_is_there(
    server: Server, crm: str, visitor: Visitor
) -> None:
    visitor.sign_in(crm, server.user())
    visitor.see("no role in this app yet")
    visitor.check()
    visitor.page.click("text=Sign out")
    visitor.see("Sign in with your account")


@pytest.mark.parametrize(
    ("template", "cron"), [("crm", "weekly_report"), ("helpdesk", "close_stale")]
)
def test_the_cron_of_a_template_runs_its_job(
    server: Server, request: pytest.FixtureRequest, template: str, cron: str
) -> None:
    request.getfixturevalue(template)
    app_id = {"crm": "sales", "helpdesk": "desk"}[template]
    api = f"/api/v1/apps/{app_id}"
    run = server.admin.post(f"{api}/crons/{cron}/trigger").json()
    job = eventually(lambda: ended(server, f"{api}/jobs/{run['job_id']}"))
    assert job["status"] == "completed", job
    if template == "crm":
        report = server.admin.get(f"{api}/collections/reports/{job['result']['report']}").json()
        assert report["title"] == "Weekly report"
    else:
        assert job["result"] == {"closed": 0}


def ended(server: Server, path: str) -> Any:
    job = server.admin.get(path).json()
    return job if job["status"] in ("completed", "failed") else None
