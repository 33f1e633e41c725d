"""The CRM at work: `python -m examples.crm.demo`, or `make demo`.

Talks to the server at http://127.0.0.1:9100, or to one of its own where none answers. It can be run
again: what it made before is kept.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .client import ApiError, Client, Collection, Record
from .code import FOLDERS, AppCode
from .sample import MARK, STAGES, Sample
from .server import NoServer, answers, own_server
from .show import blocks, dim, heading, progress, say, table

APP = "crm"
DEFAULT_URL = "http://127.0.0.1:9100"
ADMIN, REP, PASSWORD = "demo", "demo-rep", "Demo-Passw0rd"
ROLE = "sales rep"
ROLE_PERMISSIONS = (
    "companies.read", "contacts.read", "deals.create", "deals.read.own", "deals.update.own",
)  # fmt: skip
CLOSED = ["Closed Won", "Closed Lost"]
REP_DEALS = 12
UNTOLD = ("id", "created_at", "updated_at")
"""Fields that a change is not about."""


class Problem(Exception):
    """Why the demo cannot go on, in a sentence that says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 1 when something is in the way."""
    options = _parser().parse_args(arguments)
    try:
        with _server(options.url) as (url, own):
            demo = Demo(url, options.username, options.password, options.language)
            with closing(demo):
                demo.run()
            _farewell(url, demo, own=own)
    except (Problem, ApiError, NoServer, OSError) as error:
        print(f"\ncrm demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.crm.demo", description="Show the CRM example at work."
    )
    parser.add_argument("--url", help=f"a running server ({DEFAULT_URL}, else one of its own)")
    parser.add_argument("--username", help="a core admin of that server")
    parser.add_argument("--password", help="the admin's password")
    parser.add_argument(
        "--language", choices=FOLDERS, default="python", help="of the worker that is deployed"
    )
    return parser


@contextmanager
def _server(url: str | None) -> Generator[tuple[str, bool]]:
    """Yield a server's URL and whether it is the demo's own."""
    if answers(url or DEFAULT_URL):
        yield url or DEFAULT_URL, False
    elif url:
        raise Problem(f"no Caudex server answers at {url}: start one with `make run`")
    else:
        say(dim(f"No server at {DEFAULT_URL}: starting one with a database of its own."))
        with own_server() as own:
            yield own, True


class Demo:
    """What the demo shows, in order."""

    def __init__(
        self, url: str, username: str | None, password: str | None, language: str = "python"
    ) -> None:
        self._language = language
        self.username = username or ADMIN
        self.password = password or PASSWORD
        self.rep_password = f"{secrets.token_urlsafe(9)}-Aa1"
        self._given = username is not None
        self._today = date.today()  # noqa: DTZ011 - the day where the reader is
        self._sample = Sample(self._today)
        self._admin, self._rep = Client(url), Client(url)
        self._own = Collection(self._rep, APP, "deals")
        self._companies, self._contacts, self._deals, self._activities = (
            Collection(self._admin, APP, name)
            for name in ("companies", "contacts", "deals", "activities")
        )

    def run(self) -> None:
        """Show everything."""
        self.sign_in()
        heading("1. An app is a manifest")
        self.install()
        heading("2. Records: one by one, and in bulk")
        self.fill()
        heading("3. Questions")
        self.questions()
        self.pipeline()
        heading("4. A role: a sales rep works on her own deals only")
        self.roles()
        heading("5. The audit trail of one deal")
        self.trail()
        heading("6. The app's own code: RPC, a job with its progress, the live log")
        self.code()

    def close(self) -> None:
        """Close the connections."""
        self._admin.close()
        self._rep.close()

    def sign_in(self) -> None:
        """Be the first user of a new server, or log in as an admin."""
        url = self._admin.url
        if self._admin.get("/api/v1/auth/mode").get("setupRequired"):
            if not (self._given or _is_local(url)):
                raise Problem("the first user becomes admin: choose --username and --password")
            self._admin.register(self.username, self.password, "Dana Demo")
        try:
            self._admin.login(self.username, self.password)
        except ApiError as error:
            if error.status != 401:
                raise
            wanted = "give --username and --password of a core admin"
            who = f"{self.username} cannot log in" if self._given else "its admin is another user"
            raise Problem(f"{url}: {who}; {wanted}") from None
        if "*" not in self._admin.get("/api/v1/apps/core/permissions")["permissions"]:
            raise Problem(f"{url}: {self.username} is no core admin; name one with --username")
        say(f"Signed in to {url} as {self.username}.")

    def install(self) -> None:
        """Install the app, unless another app has its id."""
        manifest = json.loads(Path(__file__).with_name("manifest.json").read_text("utf-8"))
        if any(app["id"] == APP for app in self._admin.get("/api/v1/apps")):
            found = self._admin.post("/api/v1/apps/schema/verify", manifest)
            if not found["compliant"]:
                raise Problem(
                    f"this server has another app {APP!r}, which the demo would change: "
                    "use another server"
                )
        say(self._admin.post("/api/v1/apps", manifest)["message"].capitalize() + ".")
        table(
            ("Entity", "Fields"),
            [
                (entity["entityName"], ", ".join(field["name"] for field in entity["fields"]))
                for entity in manifest["dataContract"]
            ],
        )

    def fill(self) -> None:
        """Make the records that are not there yet."""
        companies = self._filled(self._companies, "notes", self._sample.companies, 1)
        contacts = self._filled(
            self._contacts, "notes", lambda: self._sample.contacts(companies), 40
        )
        deals = self._filled(self._deals, "notes", lambda: self._sample.deals(contacts), 20)
        self._filled(self._activities, "body", lambda: self._sample.activities(deals), 20)

    def _filled(
        self, collection: Collection, mark: str, make: Callable[[], Iterable[object]], size: int
    ) -> list[Record]:
        if found := self._made(collection, mark):
            say(f"{collection.name:<12} {len(found):>4} records {dim('from an earlier run')}")
            return found
        wanted = list(make())
        batches = [wanted[at : at + size] for at in range(0, len(wanted), size)]
        made: list[Record] = []
        for batch in progress(collection.name, batches):
            made += [collection.create(batch[0])] if size == 1 else collection.create_many(batch)
        return made

    def _made(self, collection: Collection, mark: str) -> list[Record]:
        return collection.query({mark: MARK}, limit=1000, order="asc")["data"]

    def questions(self) -> None:
        """Ask with filters."""
        today, month = self._today.isoformat(), (self._today + timedelta(days=30)).isoformat()
        asked: list[tuple[Collection, Mapping[str, Any]]] = [
            (self._deals, {"value": {"$gte": 50_000}, "stage": {"$nin": CLOSED}}),
            (self._deals, {"close_date": {"$gte": today, "$lt": month}}),
            (self._contacts, {"$or": [{"status": "Customer"}, {"job_title": {"$ilike": "it%"}}]}),
            (self._activities, {"done": False, "due_date": {"$lt": today}}),
        ]
        table(
            ("Collection", "Where", "Records"),
            [
                (each.name, json.dumps(where), str(each.query(where, limit=1)["total"]))
                for each, where in asked
            ],
            right=[2],
        )
        names = {company["id"]: company["name"] for company in self._companies.all()}
        largest = self._deals.query(asked[0][1], orderBy="value", order="desc", limit=5)
        say()
        table(
            ("The largest open deals", "Company", "Stage", "Closes", "Value"),
            [
                (deal["title"], names.get(deal["company_id"], ""), deal["stage"],
                 deal["close_date"] or "", f"{deal['value']:,.0f}")
                for deal in largest["data"]
            ],
            right=[4],
        )  # fmt: skip

    def pipeline(self) -> None:
        """Sum up a complete list."""
        deals = self._deals.all()
        values = {
            stage: [d["value"] or 0 for d in deals if d["stage"] == stage] for stage in STAGES
        }
        most = max(map(sum, values.values())) or 1
        say()
        table(
            ("Stage", "Deals", "Value", ""),
            [
                (stage, str(len(each)), f"{sum(each):,.0f}", blocks(sum(each) / most))
                for stage, each in values.items()
            ],
            right=[1, 2],
        )

    def roles(self) -> None:
        """Give a user a narrow role, and compare both users."""
        self._grant()
        if not self._own.all():
            contacts = Collection(self._rep, APP, "contacts").all(limit=50)
            self._own.create_many(list(self._sample.deals(contacts, REP_DEALS)))
        mine = self._own.all()
        other = next(deal for deal in self._deals.all() if deal not in mine)
        spare = self._own.create({"title": "A spare deal", "stage": "Lead", "notes": MARK})
        attempts: list[tuple[str, Callable[[Collection], object]]] = [
            ("lists deals", lambda deals: f"{len(deals.all())} records"),
            ("reads a deal of hers", lambda deals: deals.get(mine[0]["id"])["title"]),
            ("reads another deal", lambda deals: deals.get(other["id"])["title"]),
            ("deletes a deal", lambda deals: deals.delete(spare["id"]) and "done"),
        ]
        rows = [
            # She tries first: when she may not delete it, it is still there for the admin.
            (what, *reversed([_tried(attempt, each) for each in (self._own, self._deals)]))
            for what, attempt in attempts
        ]
        table(("", self.username, REP), rows)

    def _grant(self) -> None:
        roles = f"/api/v1/apps/{APP}/roles"
        accounts = {user["username"]: user["id"] for user in self._admin.get("/api/v1/users")}
        if REP in accounts:
            # She must change the password that an admin has set.
            temporary = f"{self.rep_password}-1"
            self._admin.patch(f"/api/v1/users/{accounts[REP]}", {"password": temporary})
            self._rep.login(REP, temporary)
            change = {"current": temporary, "new": self.rep_password}
            self._rep.post("/api/v1/auth/password", change)
        else:
            self._admin.register(REP, self.rep_password, "Robin Rep")
        self._rep.login(REP, self.rep_password)
        role = {"permissions": list(ROLE_PERMISSIONS), "description": "Sells; sees own deals only"}
        if ROLE in {each["name"] for each in self._admin.get(roles)}:
            self._admin.patch(f"{roles}/{ROLE.replace(' ', '%20')}", role)
        else:
            self._admin.post(roles, {"name": ROLE, **role})
        self._admin.post(f"{roles}/assign", {"userId": self._rep.user["id"], "role": ROLE})
        say(f"{REP} is a {ROLE}: {', '.join(ROLE_PERMISSIONS)}.")
        say()

    def trail(self) -> None:
        """Let two people change a deal until it is gone, then read who did what."""
        deal = self._own.create({"title": "Fleet of 40 bicycles", "stage": "Lead", "value": 24_000})
        for stage in ("Qualified", "Proposal"):
            self._own.update(deal["id"], {"stage": stage})
        self._deals.update(deal["id"], {"stage": "Closed Lost", "value": 22_500})
        self._deals.delete(deal["id"])
        rows = self._admin.get(
            "/api/v1/audit", app_id=APP, entity="deals", record_id=deal["id"], limit=10
        )
        people = {user["id"]: user["username"] for user in self._admin.get("/api/v1/users")}
        say(f"{deal['title']}, {deal['id']}: the record is gone, its trail is not.")
        say()
        table(
            ("When", "Who", "What", "Changes"),
            [
                (row["changed_at"][:19].replace("T", " "), people.get(row["actor_id"], "-"),
                 row["operation"], _changes(row))
                for row in reversed(rows)
            ],
        )  # fmt: skip

    def code(self) -> None:
        """Deploy the app's worker, call it, give it a job."""
        code = AppCode(self._admin, self._language)
        code.deploy()
        code.call(self._rep, self._own.all()[0])
        code.work(list(STAGES))


def _tried(attempt: Callable[[Collection], object], deals: Collection) -> str:
    try:
        return str(attempt(deals))
    except ApiError as error:
        return f"{error.status} {error}"


def _changes(row: Record) -> str:
    old: Record = row["old_record"] or {}
    new: Record = row["new_record"] or {}
    changed = [name for name in new if new[name] != old.get(name) and name not in UNTOLD]
    if old and new:
        return ", ".join(f"{name}: {old.get(name)} → {new[name]}" for name in changed)
    return ", ".join(f"{name}: {new[name]}" for name in changed)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _farewell(url: str, demo: Demo, *, own: bool) -> None:
    heading("That was it")
    if own:
        say("This server and its data go away now. One that stays: `make run`, then `make demo`.")
        return
    password = PASSWORD if demo.password == PASSWORD else "as you gave it"
    say(f"The records stay at {url}; see them at {url}/console/. Who can log in there:")
    table(("User", "Password"), [(demo.username, password), (REP, demo.rep_password)])


if __name__ == "__main__":
    sys.exit(main())
