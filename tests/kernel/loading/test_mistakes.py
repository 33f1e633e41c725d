"""Further mistakes of an author, and all of them at once; see `test_three_of_each.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel.config.settings import load_config
from kernel.loading.loader import load
from plugins.system.examination.asked import undeclared
from tests.kernel.here import caudex_here
from tests.kernel.support import BUILT_IN, LoadPlugins, plugin

Refusal = Callable[..., list[str]]


def hook(name: str, arguments: str, mark: str = "", *, word: str = "async def") -> str:
    return f"@hookimpl\n{mark}\n{word} {name}({arguments}): ..."


MISTAKES = [
    # Patterns of subjects.
    (hook("event_committed", "self, event", "@for_subjects('*.contacts')"),
     "@for_subjects('*.contacts') names no app and entity", "write <app>"),
    ("@hookimpl\n@for_subjects('core.*')\ndef register_permissions(self): return []",
     "register_permissions ignores @for_subjects", "it is for"),
    (hook("app_installing", "self, tx", "@subjects_from('_none')"),
     "app_installing ignores @subjects_from", "it is for"),
    # Methods that return subjects.
    (hook("event_committed", "self, event", "@subjects_from('_none')"),
     "@subjects_from('_none') names no method", "name one of the plugin's class"),
    ("def _late(self): return self.not_yet\n"
     + hook("event_recorded", "self, event", "@subjects_from('_late')"),
     "@subjects_from('_late') failed: AttributeError",
     "its method is called before the start, too"),
    ("def _odd(self): return ['contacts']\n"
     + hook("record_writing", "self, change", "@subjects_from('_odd')"),
     "@subjects_from('_odd'): 'contacts' names no app and entity", "write <app>.<entity>"),
    # What a hook returns.
    ("@hookimpl\ndef register_permissions(self): return Permission('x.y')",
     "register_permissions returned a Permission", "return a list of Permission"),
    (hook("register_routes", "self, services", word="def"),
     "register_routes returned nothing", "return a list of Route"),
    ("@hookimpl\ndef register_commands(self): return 5",
     "register_commands returned a int", "return a list of Command"),
    # A method without self.
    ("@classmethod\n@hookimpl\ndef register_commands(cls): return []",
     "register_commands has no self", "make it"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "problem", "remedy"), MISTAKES)
def test_a_mistake_in_a_hook(refusal: Refusal, body: str, problem: str, remedy: str) -> None:
    said = refusal(odd=plugin("odd", body))[0]
    assert re.match(r"plugin odd, /\S+/odd\.py:\d+: ", said), said
    assert f": {problem}" in said
    assert f"; {remedy}" in said


@pytest.mark.parametrize(
    ("mark", "remedy"),
    [
        ("@for_subjects()", 'name the subjects: @for_subjects("crm.contacts")'),
        ("@for_subjects", 'name the subjects: @for_subjects("crm.contacts")'),
        ("@subjects_from", 'name a method of the plugin: @subjects_from("_subjects")'),
    ],
)
def test_a_mark_that_names_nothing(refusal: Refusal, mark: str, remedy: str) -> None:
    [said] = refusal(odd=plugin("odd", hook("event_committed", "self, event", mark)))
    assert re.match(r"plugin odd, /\S+/odd\.py:\d+: cannot be imported: TypeError: ", said), said
    assert remedy in said


def test_a_file_that_is_named_from_here_has_its_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text("\n\nimport no_such_module\n", "utf-8")
    ended = caudex_here("config", "check", "--plugin", "odd.py")
    assert "plugin odd, odd.py:3: cannot be imported: ModuleNotFoundError" in ended.err


def test_a_route_that_a_plugin_has_twice_is_removed(refusal: Refusal) -> None:
    route = "Route('GET', '/x', self.get, PUBLIC)"
    body = f"@hookimpl\ndef register_routes(self, services): return [{route}, {route}]\n"
    [said] = refusal(odd=plugin("odd", f"{body}async def get(self, request): ..."))
    assert said.endswith("the route GET /x is already plugin odd's; remove one of the two")


def test_a_service_that_is_declared_or_provided_or_only_named(load_plugins: LoadPlugins) -> None:
    on = {"plugins.system": {}}
    for declared in ("uses", "finds"):
        body = f"{declared} = (ACCESS,)\ndef ask(self, s): return s.find(ACCESS)"
        load_plugins(on, fine=plugin("fine", body))
    named = "def ask(self, s): return s.provider(ACCESS.name), s.get(HOOKS)"
    own = "OWN = ServiceKey('own')"
    provided = (
        "@hookimpl\ndef provide_services(self): return [provide(OWN, lambda s: 1)]\n"
        "def ask(self, s): return s.get(OWN)"
    )
    load_plugins(on, fine=plugin("fine", named), other=plugin("other", provided, own))


def test_code_that_a_plugin_leads_to_is_its_own_and_no_other(
    load_plugins: LoadPlugins, refusal: Refusal
) -> None:
    beside = "def helper(s): return s.get(ACCESS)"
    load_plugins({"plugins.system": {}}, fine=plugin("fine", "", beside))
    [said] = refusal(odd=plugin("odd", "def ask(self, s): return helper(s)", beside))
    assert "asks for the service 'access', which it does not declare" in said


def test_the_plugins_of_caudex_declare_what_they_ask_for() -> None:
    on = {f"plugins.{name}": {"enabled": True} for name in ("cron", "metrics", "openapi")}
    kernel = load(load_config(environ={}, overrides=on))
    for each in kernel.instances:
        assert list(undeclared(each, kernel.services.offered_by(each.name))) == [], each.name


def test_a_clash_is_the_newcomers(refusal: Refusal) -> None:
    """Also where its name comes first, and where it is the one that may be left out."""
    taken = """
@hookimpl
def register_routes(self, services):
    return [Route("GET", "/health", self.get, PUBLIC)]

@hookimpl
def register_commands(self, services): return [Command(name="doctor", help="")]

async def get(self, request): ...
"""
    said = refusal(aa=plugin("aa", taken))
    assert [re.sub(r", /\S+", "", line) for line in said] == [
        "plugin aa the command 'doctor' is already plugin system's; rename one of the two",
        "plugin aa the route GET /health is already plugin system's; disable one of the two",
    ]


def test_a_newcomer_that_may_be_left_out_is(load_plugins: LoadPlugins) -> None:
    body = (
        "@hookimpl\ndef register_routes(self, services): "
        "return [Route('GET', '/health', self.get, PUBLIC)]\nasync def get(self, request): ..."
    )
    on = {"plugins.system": {}, "plugins.aa": {"on_failure": "degrade"}}
    kernel = load_plugins(on, aa=plugin("aa", body))
    assert [by for by, route in kernel.routes if route.path == "/health"] == ["system"]
    assert [info.name for info in kernel.plugins if info.state == "degraded"] == ["aa"]


def test_a_mistake_that_is_found_late_leaves_out_its_plugin(load_plugins: LoadPlugins) -> None:
    body = hook("event_committed", "self, event", "@for_subjects('contacts')")
    on = {"plugins.system": {}, "plugins.odd": {"on_failure": "degrade"}}
    kernel = load_plugins(on, odd=plugin("odd", body), fine=plugin("fine"))
    assert [info.name for info in kernel.plugins if info.state == "degraded"] == ["odd"]
    assert {each.name for each in kernel.instances} == {"fine", "system"}


CONFIG = """
[server]
prot = 1
[services]
vault = "safe"
[plugins.guestbook]
[plugins.jobs]
poll_intervall = 3
"""


def test_all_kinds_of_errors_come_in_one_round(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    """Of the configuration, imports, hooks, routes, services, migrations and missing parts."""
    sql = tmp_path / "numbers"
    sql.mkdir()
    (sql / "first.sql").write_text("select 1")
    bodies = {
        "syntax": "x = = 1",
        "hooks": plugin("hooks", "@hookimpl\ndef register_rutes(self): ..."),
        "route": plugin("route", "@hookimpl\ndef register_routes(self, services):\n"
                        "    return [Route('GET', '/x', self.get, PUBLIC, body=int)]\n"
                        "async def get(self, request): ..."),
        "needy": plugin("needy", "requires = (ServiceKey('tea'),)"),
        "numbers": plugin("numbers", f"from pathlib import Path\nmigrations = Path({str(sql)!r})"),
        "clash": plugin("clash", "@hookimpl\ndef register_commands(self, services):"
                        " return [Command(name='serve', help='')]"),
    }  # fmt: skip
    files = [str(write(name, body)) for name, body in bodies.items()]
    config = tmp_path / "caudex.toml"
    config.write_text(CONFIG)
    words = [each for file in files for each in ("--plugin", file)]
    ended = caudex_here("config", "check", "--config", str(config), *words)
    assert ended.status == 78
    for said in (
        "unknown key 'prot'",
        "[services] vault: 'safe' does not provide it",
        "[plugins.guestbook]: there is no such plugin",
        "[plugins.jobs]: unknown key 'poll_intervall'",
        "plugin syntax, ",
        "there is no hook 'register_rutes'",
        "the route GET /x has a body=",
        ": needs the service 'tea'",
        "first.sql is no migration",
        "the command 'serve' is already the kernel's",
    ):
        assert said in ended.err, said
    assert len(ended.err.splitlines()) == 10, ended.err


def test_a_plugin_of_caudex_that_fails_does_not_bury_the_reason(tmp_path: Path) -> None:
    """Those that need what it provides are not named, nor each of their routes."""
    overrides = {"plugins.rbac": {"no_such_key": 1}}
    config = load_config(environ={}, overrides=overrides)
    with pytest.raises(Exception, match="no_such_key") as caught:
        load(config)
    assert len(str(caught.value).splitlines()) == 1, str(caught.value)


def test_what_serve_would_refuse_is_refused_before() -> None:
    off = {f"plugins.{name}": {"enabled": False} for name in BUILT_IN if name != "system"}
    config = load_config(environ={}, overrides=off)
    assert load(config).instances  # commands need no database
    with pytest.raises(Exception, match="none is configured and no plugin runs one") as caught:
        load(config, to_serve=True)
    assert "HTTP server: no plugin that is on provides it" in str(caught.value)


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        ("None", "has a handler that is no function; name a method, as self.get"),
        ("'get'", "has a handler that is no function; name a method, as self.get"),
        ("P", "has a handler that is no function; name a method, as self.get"),
        ("print", "has a handler that is no function; name a method, as self.get"),
        ("self", "has a handler that is a plain def; write it as async def"),
    ],
)
def test_a_handler_that_is_no_coroutine_function(
    refusal: Refusal, handler: str, problem: str
) -> None:
    body = f"""
def __call__(self, request): ...
@hookimpl
def register_routes(self, services): return [Route("GET", "/x", {handler}, PUBLIC)]
"""
    [said] = refusal(odd=plugin("odd", body))
    assert re.match(r"plugin odd, /\S+/odd\.py:\d+: the route GET /x ", said), said
    assert said.endswith(problem)
