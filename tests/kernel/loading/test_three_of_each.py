"""Three of each mistake that was once accepted: each stops the start, with plugin, line, remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kernel.support import HEAD, plugin

Refusal = Callable[..., list[str]]


class Mistake(NamedTuple):
    """What an author wrote, and what the start says; `# here` marks the line that it names."""

    problem: str
    remedy: str
    variants: tuple[str, ...]


def hook(signature: str, *marks: str, word: str = "async def") -> str:
    """An implementation; the line of its first decorator is where it is."""
    mark = "".join(f"\n{mark}" for mark in marks)
    return f"@hookimpl  # here{mark}\n{word} {signature}: ..."


def route(handler: str, given: str = "", *, method: str = "POST", path: str = "/x") -> str:
    declared = f"Route({method!r}, {path!r}, self.handle, PUBLIC, {given})"
    return (
        f"@hookimpl\ndef register_routes(self, services): return [{declared}]\n"
        f"async def handle({handler}): ...  # here"
    )


def folder(path: str) -> str:
    return f"from pathlib import Path\nmigrations = {path}  # here"


WITH_BODY = "body=dict"
TWICE = """
@hookimpl
def register_routes(self, services): return [Route("GET", "/x", self.handle, PUBLIC)] * 2
async def handle(self, request): ...  # here
"""

MISTAKES = {
    "a subject without an app": Mistake(
        "names no app and entity", "write <app>.<entity>, <app>.* or core.*, as crm.contacts",
        (hook("event_recorded(self, event)", "@for_subjects('contacts')"),
         hook("record_writing(self, change)", "@for_subjects('crm.contacts', 'crm')"),
         hook("event_committed(self)", "@subjects_from('_odd')")
         + "\ndef _odd(self): return ['*.contacts']"),
    ),
    "subjects of a hook that ignores them": Mistake(
        " ignores @", "it is for record_writing, event_recorded, event_committed",
        (hook("record_scope(self, actor)", "@for_subjects('crm.contacts')"),
         hook("health(self)", "@for_subjects('crm.*')"),
         hook("app_installing(self, tx)", "@subjects_from('_some')")
         + "\ndef _some(self): return ()"),
    ),
    "a folder of migrations that is missing": Mistake(
        "its folder of migrations is missing: ", "write 0001_what.sql into it",
        (folder("Path('/no/such/folder')"),
         folder("Path(__file__).with_name('nowhere')"),
         folder("'nowhere'")),
    ),
    "a folder of migrations without any": Mistake(
        "its folder of migrations is empty: ", "write 0001_what.sql into it",
        (folder("Path(__file__).with_name('nothing')"),
         folder("Path(__file__).with_name('words')"),
         folder("Path(__file__).with_name('deep')")),
    ),
    "a mark of pluggy that has no effect": Mistake(
        "is marked tryfirst or trylast, which has no effect",
        "remove it: plugins have the order of what they need",
        ("@hookimpl(tryfirst=True)  # here\nasync def authenticate(self, request): ...",
         "@hookimpl(trylast=True)  # here\nasync def record_writing(self, change): ...",
         "@hookimpl(tryfirst=True)  # here\ndef register_routes(self, services): return []"),
    ),
    "no self": Mistake(
        " has no self", "make it the first argument",
        (hook("authenticate(request)"),
         hook("register_permissions()", word="def"),
         hook("event_committed()")),
    ),
    "a body for a handler that takes none": Mistake(
        "has a body=, and its handler takes none", "write it as async def (request, body)",
        (route("self, request", WITH_BODY),
         route("self, request, *, body", "body=int", method="PATCH"),
         route("self", "body=list[int]", method="PUT")),
    ),
    "a handler that takes a body of none": Mistake(
        "has no body=, and its handler takes more than the request", "give body= its type",
        (route("self, request, body"),
         route("self, request, body", method="PATCH"),
         route("self")),
    ),
    "a GET with a body": Mistake(
        "has a body=, and a GET request has none", "declare parameters by query=, or write POST",
        (route("self, request, body", WITH_BODY, method="GET"),
         route("self, request, body", "body=list[str]", method="GET", path="/x/{id}"),
         route("self, request", WITH_BODY, method="GET", path="/x/{path*}")),
    ),
    "a service that is asked for and not declared": Mistake(
        "asks for the service 'access', which it does not declare",
        "name its key in `requires`, or in `uses` or `finds` if it may be missing",
        ("async def ask(self): return await self._services.get(ACCESS).roles('x')  # here",
         "def ask(self, services):\n    get = services.get\n    return get(ACCESS)  # here",
         "def keep(self, s): self._s = s.find\ndef ask(self): return self._s(ACCESS)  # here",
         "@property\ndef access(self): return self._services.get(ACCESS)  # here",
         "def ask(self, services): return lambda: services.get(ACCESS)  # here"),
    ),
    "requirements that are no keys": Mistake(
        "are no service keys", "write a tuple of service keys: ",
        ("requires = ('access',)  # here",
         "requires = (ACCESS)  # here",
         "uses = [ACCESS]  # here",
         "finds = (ACCESS, Access)  # here"),
    ),
    "requirements that no plugin meets": Mistake(
        ", which no plugin provides", "enable a plugin that does (not on: ",
        ("requires = (ServiceKey('acess'),)  # here",
         "version = '1'\nrequires = (STATEMENTS, ServiceKey('tea'))  # here",
         "requires: tuple = (VAULT,)  # here"),
    ),
    "a service that is named twice": Mistake(
        "names the service 'statements' twice", "keep it in one of requires, uses, finds, once",
        ("requires = (STATEMENTS, STATEMENTS)  # here",
         "requires = (STATEMENTS,)\nuses = (STATEMENTS,)  # here",
         "requires = (STATEMENTS,)\nfinds = (HOOKS, STATEMENTS)  # here"),
    ),
    "a declaration that is misspelt": Mistake(
        " has no meaning", "did you mean ",
        ("requried = (STATEMENTS,)  # here",
         "require = (STATEMENTS, HOOKS)  # here",
         "from pathlib import Path\nmigration = Path(__file__).with_name('sql')  # here"),
    ),
    "a key that no permission can have": Mistake(
        " is no key of a permission", "write it as hello.greet",
        tuple(f"@hookimpl  # here\ndef register_permissions(self): return [Permission({key!r})]"
              for key in ("", "hello greet", ".hello", "x" * 129)),
    ),
    "a clash with what was there": Mistake(
        "is already plugin ", " one of the two",
        (route("self, request", method="GET", path="/health"),
         route("self, request", method="GET", path="/health/ready"),
         "@hookimpl  # here\ndef register_commands(self): return [Command(name='doctor', help='')]",
         TWICE),
    ),
}  # fmt: skip


def variants() -> Iterator[Any]:
    for name, mistake in MISTAKES.items():
        for number, body in enumerate(mistake.variants):
            yield pytest.param(mistake, body, id=f"{name}, {number}")


@pytest.mark.parametrize(("mistake", "body"), list(variants()))
def test_it_is_said_with_plugin_line_and_remedy(
    refusal: Refusal, tmp_path: Path, mistake: Mistake, body: str
) -> None:
    for name in ("nothing", "words", "deep/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "words/README.md").write_text("What will be here.")
    (tmp_path / "deep/inner/0001_deep.sql").write_text("select 1")
    [said] = refusal(aa=plugin("aa", body))
    written = (HEAD + plugin("aa", body)).splitlines()
    [line] = [at for at, text in enumerate(written, 1) if text.endswith("# here")]
    assert said.startswith(f"plugin aa, {tmp_path}/aa.py:{line}: "), said
    assert mistake.problem in said
    assert mistake.remedy in said.partition("; ")[2]


def test_there_are_three_of_each() -> None:
    assert all(len(set(mistake.variants)) >= 3 for mistake in MISTAKES.values())


@pytest.mark.parametrize(
    ("files", "at", "problem", "remedy"),
    [
        (("0001_a.sql", "0001_b.sql"), "", "0001_a.sql and 0001_b.sql have the same number",
         "give the later the next number"),
        (("0001_a.sql", "second.sql"), "/second.sql", "second.sql is no migration",
         "name it 0001_what.sql"),
        (("01_a.sql",), "/01_a.sql", "01_a.sql is no migration", "name it 0001_what.sql"),
    ],
)  # fmt: skip
def test_migrations_without_an_order(
    refusal: Refusal, tmp_path: Path, files: tuple[str, ...], at: str, problem: str, remedy: str
) -> None:
    """The file is named; a number below one that was applied: see `test_migrations.py`."""
    (tmp_path / "sql").mkdir()
    for name in files:
        (tmp_path / "sql" / name).write_text("select 1")
    body = folder("Path(__file__).with_name('sql')")
    [said] = refusal(aa=plugin("aa", body))
    assert said.startswith(f"plugin aa, {tmp_path}/sql{at}: {problem}; {remedy}"), said
