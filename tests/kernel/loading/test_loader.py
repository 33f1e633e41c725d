"""Every mistake of a plugin is one line that names the plugin, the place and the remedy."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.cli import main as cli
from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.loading import contributions, sources
from kernel.loading.loader import load
from tests.kernel.processes import open_folder
from tests.kernel.support import BUILT_IN, LoadPlugins, plugin, shut

Refusal = Callable[..., list[str]]
GOOD = """
class GoodPlugin(Plugin):
    name = "good"
    version = "2.0"

    @hookimpl
    def register_routes(self, services):
        return [Route("GET", "/good", self.get, needs=PUBLIC)]

    async def get(self, request):
        return reply({})
"""


def route(method: str = "GET", path: str = "/x", needs: str = "PUBLIC") -> str:
    return f"""
@hookimpl
def register_routes(self, services):
    return [Route({method!r}, {path!r}, self.get, needs={needs})]

async def get(self, request): ...
"""


def giving(hook: str, value: str) -> str:
    return f"@hookimpl\ndef {hook}(self): return {value}"


def providing(key: str) -> str:
    return (
        "@hookimpl\n"
        f"def provide_services(self): return [provide(ServiceKey({key!r}), lambda s: object())]"
    )


def placeless(said: str) -> str:
    """Take the place out of an error, which must have one."""
    found = re.fullmatch(r"(plugin \w+), /\S+/\w+\.py:\d+(: .*)", said)
    assert found, said
    return found[1] + found[2]


def test_a_one_file_plugin_is_loaded(load_plugins: LoadPlugins) -> None:
    kernel = load_plugins(good=GOOD)
    [(name, declared)] = kernel.routes
    assert (name, declared.path) == ("good", "/good")
    [info] = [info for info in kernel.plugins if info.state == "on"]
    assert (info.name, info.version) == ("good", "2.0")
    assert info.origin.endswith("good.py")


def test_a_folder_of_one_file_plugins_is_loaded(
    load_plugins: LoadPlugins, write: Callable[[str, str], Path]
) -> None:
    path = write("good", GOOD)
    write("_helper", "this is not Python")
    kernel = load_plugins({"server.plugins_dir": str(path.parent)})
    assert [instance.name for instance in kernel.instances] == ["good"]


def test_a_dash_in_a_file_name_is_an_underscore(load_plugins: LoadPlugins) -> None:
    assert load_plugins(**{"my-plugin": plugin("my_plugin")}).instances[0].name == "my_plugin"


def test_a_folder_of_plugins_that_is_not_there(refusal: Refusal, tmp_path: Path) -> None:
    [said] = refusal({"server.plugins_dir": str(tmp_path / "none")})
    assert "[server] plugins_dir" in said
    assert "none cannot be listed" in said


def test_a_folder_of_plugins_that_may_not_be_listed() -> None:
    """It may contain guards, so the loader must not treat it as empty."""
    with open_folder() as above:
        folder = above / "dropped"
        folder.mkdir()
        (folder / "guard.py").write_text(GOOD)
        config = load_config(environ={}, overrides={"server.plugins_dir": str(folder)})
        for shut_out, mode in ((folder, 0), (folder, 0o111), (above, 0)):
            errors: list[BootError] = []
            with shut(shut_out, mode):
                sources.find_sources(config, errors)
            problem = f"{folder} cannot be listed: Permission denied"
            remedy = "create it, or let the server's account read it"
            assert list(map(str, errors)) == [f"[server] plugins_dir: {problem}; {remedy}"]


def test_a_file_that_is_not_there(refusal: Refusal, tmp_path: Path) -> None:
    [said] = refusal({"server.plugin_files": [str(tmp_path / "lost.py")]})
    assert said.startswith("plugin lost, ")
    assert f"{tmp_path / 'lost.py'} is not there" in said
    (tmp_path / "lost.py").mkdir()
    [said] = refusal({"server.plugin_files": [str(tmp_path / "lost.py")]})
    assert "is no Python file" in said


def test_a_plugin_is_loaded_by_its_module(load_plugins: LoadPlugins) -> None:
    table = {"module": "tests.plugins.audit.stand_in:StandInPlugin"}
    assert load_plugins({"plugins.stand_in": table}).instances[0].name == "stand_in"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("tests.no_such_module", ", tests.no_such_module: cannot be imported: ModuleNotFoundError"),
        ("tests.plugins.audit.stand_in:Nothing", "has no attribute 'Nothing'"),
        ("json", "0 plugin classes in json"),
        ("kernel.hooks.plugin:Plugin", "0 plugin classes in kernel.hooks.plugin:Plugin"),
    ],
)
def test_a_module_without_the_plugin(refusal: Refusal, module: str, words: str) -> None:
    [said] = refusal({"plugins.mine": {"module": module}})
    assert said.startswith("plugin mine")
    assert words in said


@pytest.mark.parametrize(
    ("body", "words", "line"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'", 5),
        ("x = 1\ny = = 2", "SyntaxError: invalid syntax", 6),
        ("def f(): return 1 / 0\nf()", "ZeroDivisionError: division by zero", 5),
    ],
)
def test_a_plugin_that_cannot_be_imported(
    refusal: Refusal, body: str, words: str, line: int
) -> None:
    [said] = refusal(broken=body)
    assert said.startswith("plugin broken, ")
    assert f"broken.py:{line}: " in said
    assert words in said
    assert "enabled = false" in said


def test_a_plugin_that_may_be_missed_is_left_out_and_reported(load_plugins: LoadPlugins) -> None:
    kernel = load_plugins({"plugins.broken": {"on_failure": "degrade"}}, broken="1 / 0", good=GOOD)
    assert [instance.name for instance in kernel.instances] == ["good"]
    [info] = [info for info in kernel.plugins if info.name == "broken"]
    assert info.state == "degraded"
    assert "ZeroDivisionError" in info.note


@pytest.mark.parametrize(
    "body",
    [
        plugin("broken", "def __init__(self, *a): raise ValueError('no')"),
        plugin("broken", "@hookimpl\ndef register_rutes(self, services): ..."),
        plugin("broken", "@hookimpl\ndef provide_services(self): return 1 / 0"),
        plugin("broken", "kernel_api = 99"),
    ],
)
def test_whatever_is_wrong_with_it_it_may_be_missed(load_plugins: LoadPlugins, body: str) -> None:
    kernel = load_plugins({"plugins.broken": {"on_failure": "degrade"}}, broken=body, good=GOOD)
    assert [instance.name for instance in kernel.instances] == ["good"]
    assert [info.name for info in kernel.plugins if info.state == "degraded"] == ["broken"]


@pytest.mark.parametrize(
    "body",
    [
        "@hookimpl\ndef register_routes(self, services): return 1 / 0",
        "@hookimpl\ndef register_commands(self): return [Command(name='serve', help='', run=None)]",
        route(path="/good"),
    ],
)
def test_also_for_what_it_contributes_it_may_be_missed(
    load_plugins: LoadPlugins, body: str
) -> None:
    table = {"plugins.z_broken": {"on_failure": "degrade"}}
    kernel = load_plugins(table, z_broken=plugin("z_broken", body), good=GOOD)
    assert [instance.name for instance in kernel.instances] == ["good"]
    [info] = [info for info in kernel.plugins if info.state == "degraded"]
    assert info.note.startswith("plugin z_broken")
    assert [by for by, _ in kernel.routes] == ["good"]


@pytest.mark.parametrize(
    "fault", ["kernel_api = 99", "Config = int", "def __init__(self, *a): 1 / 0", "name = 'other'"]
)
def test_a_plugin_that_guards_is_not_left_out(refusal: Refusal, fault: str) -> None:
    """Else everyone would see what it hides."""
    scope = "@hookimpl\nasync def record_scope(self, actor): ..."
    table = {"plugins.guard": {"on_failure": "degrade"}}
    [_, reason] = refusal(table, guard=plugin("guard", f"{scope}\n{fault}"))
    assert reason == (
        "plugin guard: cannot be left out: its hooks protect requests (record_scope); "
        "fix it, or disable it if this deployment does not need that protection"
    )


def test_a_plugin_that_others_need_cannot_be_missed(refusal: Refusal) -> None:
    needy = plugin("needy", "requires = (ServiceKey('tea'),)")
    [said] = refusal({"plugins.broken": {"on_failure": "degrade"}}, broken="1 / 0", needy=needy)
    assert "plugin needy: needs the service 'tea', which no plugin provides" in placeless(said)
    assert "(not on: app_logins, apps, audit, auth, authoring, backup, broken, " in said


def test_a_misspelt_choice_for_failures(refusal: Refusal) -> None:
    [said] = refusal({"plugins.good": {"on_failure": "degrad"}}, good=GOOD)
    assert said == "[plugins.good] on_failure: 'degrad' is unknown; did you mean 'degrade'?"


def test_a_constructor_that_raises(refusal: Refusal) -> None:
    [said] = refusal(odd=plugin("odd", "def __init__(self, *a): raise KeyError('gone')"))
    assert said.startswith("plugin odd, ")
    assert "odd.py:" in said
    assert "cannot be created: KeyError: 'gone'" in said


def test_two_classes_in_one_plugin(refusal: Refusal) -> None:
    [said] = refusal(two=plugin("two") + "class Other(P): pass\n")
    assert said.startswith("plugin two: 2 plugin classes in ")
    assert said.endswith("one subclass of caudex.Plugin is needed")


def test_a_class_that_was_only_imported_does_not_count(load_plugins: LoadPlugins) -> None:
    head = "from tests.plugins.audit.stand_in import StandInPlugin"
    assert load_plugins(mine=plugin("mine", head=head)).instances[0].name == "mine"


def test_a_class_of_a_package_whose_name_begins_alike_does_not_count(
    load_plugins: LoadPlugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "samovar_base": "from caudex import Plugin\nclass Base(Plugin): ...\n",
        "samovar": "from samovar_base import Base\nclass Samovar(Base):\n    name = 'samovar'\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    kernel = load_plugins({"plugins.samovar": {"module": "samovar"}})
    assert [plugin.name for plugin in kernel.instances] == ["samovar"]


def test_a_name_that_is_not_the_files(refusal: Refusal) -> None:
    [said] = refusal(mine=plugin("yours"))
    assert said == "plugin mine: its class is called 'yours'; set name = 'mine'"


def test_a_name_that_no_schema_can_have(refusal: Refusal) -> None:
    [said] = refusal(**{"My.Plugin": plugin("My.Plugin")})
    assert said.startswith("plugin My.Plugin: 'My.Plugin' is no name for a plugin; use lower-case")


def test_a_plugin_for_another_kernel(refusal: Refusal) -> None:
    [said] = refusal(old=plugin("old", "kernel_api = 99"))
    assert said == (
        "plugin old: wants kernel_api 99, this kernel has 1; "
        "install a version of the plugin for this kernel"
    )


def test_two_plugins_of_one_name(refusal: Refusal) -> None:
    [said] = refusal(audit=plugin("audit"))
    assert said.startswith("plugin audit: there are two: built-in and ")
    assert said.endswith("rename one, or choose: [plugins.audit] module")


def test_an_installed_plugin_is_off_until_the_configuration_names_it(
    load_plugins: LoadPlugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    entry = EntryPoint(
        "stand_in", "tests.plugins.audit.stand_in:StandInPlugin", sources.ENTRY_POINTS
    )
    monkeypatch.setattr(sources, "entry_points", lambda group: [entry])
    assert load_plugins().instances == []
    assert load_plugins({"plugins.stand_in": {}}).instances[0].name == "stand_in"


def test_a_table_of_a_plugin_that_is_not_there(refusal: Refusal) -> None:
    [said] = refusal({"plugins.goood": {}}, good=GOOD)
    assert said == "[plugins.goood]: there is no such plugin; did you mean 'good'?"


@pytest.mark.parametrize("value", ["maybe", 2, [], None])
def test_a_switch_that_is_neither(refusal: Refusal, value: Any) -> None:
    [said] = refusal({"plugins.good": {"enabled": value}}, good=GOOD)
    assert said == "[plugins.good] enabled: must be true or false"


@pytest.mark.parametrize("value", [False, "false", "0", "False"])
def test_a_plugin_is_switched_off(load_plugins: LoadPlugins, value: Any) -> None:
    kernel = load_plugins({"plugins.good": {"enabled": value}}, good=GOOD)
    assert (kernel.instances, kernel.routes) == ([], [])
    assert [info.state for info in kernel.plugins if info.name == "good"] == ["off"]


def test_what_is_off_is_not_imported(load_plugins: LoadPlugins) -> None:
    load_plugins({"plugins.unloaded": {"enabled": False}}, unloaded="1 / 0")
    assert "caudex_file_unloaded" not in sys.modules


def test_a_plugin_that_failed_leaves_no_half_module(refusal: Refusal) -> None:
    refusal(half="x = 1\n1 / 0")
    assert "caudex_file_half" not in sys.modules


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("requires = ('tea',)", "its requires are no service keys; write a tuple of service keys"),
        ("uses = ServiceKey('tea')", "its uses are no service keys; write a tuple"),
        ("finds = [ServiceKey('tea')]", "its finds are no service keys"),
        ("Config = dict", "its Config is no msgspec.Struct; derive it from caudex.Section"),
    ],
)
def test_what_a_class_says_of_itself_is_looked_at(refusal: Refusal, body: str, words: str) -> None:
    [said] = refusal(odd=plugin("odd", body))
    assert f": {words}" in said


@pytest.mark.parametrize(
    ("hook", "value", "words"),
    [
        ("register_permissions", "['tea.drink']", "returned a str; return a list of Permission"),
        ("register_commands", "[None, 1]", "returned a int; return a list of Command"),
        ("register_manifest_section", "{'tea': {}}", "returned a dict; return a ManifestSection"),
    ],
)
def test_what_a_hook_returns_at_load_is_looked_at(
    refusal: Refusal, hook: str, value: str, words: str
) -> None:
    [said] = refusal(odd=plugin("odd", giving(hook, value)))
    assert said.startswith("plugin odd, ")
    assert "/odd.py:" in said
    assert said.endswith(f"{hook} {words}")


def test_one_item_where_a_list_is_wanted(refusal: Refusal) -> None:
    [said] = refusal(odd=plugin("odd", giving("register_permissions", "Permission('tea')")))
    assert said.startswith("plugin odd")
    assert "register_permissions returned a Permission; return a list of Permission" in said


def test_what_is_offered_must_be_an_offer(refusal: Refusal) -> None:
    [said] = refusal(odd=plugin("odd", giving("provide_services", "[object()]")))
    assert said.startswith("plugin odd, ")
    assert said.endswith("did not return providers; return a list of provide(KEY, factory)")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (route("GTE"), "the route GTE /x has an unknown method; did you mean 'GET'?"),
        (route(path="x"), "the route GET x is no path; write it as /api/v1/things/{id}"),
        (route(path="/api/x/"), "is no path"),
        (route(path="/x//"), "is no path"),
        (
            route().replace("async def", "def"),
            "has a handler that is a plain def; write it as async def",
        ),
        (route(path="/x/{}"), "is no path"),
        (route(path="/x/a{id}"), "is no path"),
        (route(needs="'admin'"), "needs 'admin', which is no need; write PUBLIC, ANY_USER"),
        (route(needs="APP_ADMIN"), "its path names no app; put {app_id} into the path"),
        (
            route(path="/x/{app_id}", needs="entity('read')"),
            "its path names no entity; put {entity} into the path",
        ),
    ],
)
def test_a_route_that_could_never_be_served(refusal: Refusal, body: str, words: str) -> None:
    [said] = refusal(odd=plugin("odd", body))
    assert placeless(said).startswith("plugin odd: the route ")
    assert words in said


def test_a_body_that_cannot_be_decoded(refusal: Refusal) -> None:
    body = route("POST").replace("needs=", "body=object(), needs=")
    [said] = refusal(odd=plugin("odd", body))
    assert "plugin odd: the route POST /x cannot be declared: TypeError" in placeless(said)


def test_the_place_of_a_fault_is_in_the_plugin_and_not_in_what_it_uses(refusal: Refusal) -> None:
    [said] = refusal(odd=plugin("odd", "value = __import__('json').loads('{')"))
    assert said.startswith("plugin odd, ")
    assert "/odd.py:" in said
    assert "JSONDecodeError" in said


def test_a_file_that_changed_within_a_second_is_not_the_one_before(
    load_plugins: LoadPlugins,
) -> None:
    for version in ("1.0", "2.0"):  # of the same length, too
        kernel = load_plugins(odd=plugin("odd", f"version = {version!r}"))
        assert kernel.instances[0].version == version


CONFIG = plugin("mine", "Config = C", "class C(Section, frozen=True, kw_only=True): tries: int = 3")


def test_a_plugin_gets_its_configuration(load_plugins: LoadPlugins) -> None:
    kernel = load_plugins({"plugins.mine": {"tries": "7", "enabled": True}}, mine=CONFIG)
    assert kernel.instances[0].config.tries == 7


def test_unknown_keys_of_a_plugin_are_reported_with_the_nearest_known_one(refusal: Refusal) -> None:
    assert refusal({"plugins.mine": {"triez": 1, "enabeld": True}}, mine=CONFIG) == [
        "[plugins.mine]: unknown key 'triez'; did you mean 'tries'?",
        "[plugins.mine]: unknown key 'enabeld'; did you mean 'enabled'?",
    ]


def test_a_value_of_the_wrong_type(refusal: Refusal) -> None:
    [said] = refusal({"plugins.mine": {"tries": "often"}}, mine=CONFIG)
    assert said == "[plugins.mine]: tries: expected int, got str"


def test_a_route_that_two_plugins_declare(refusal: Refusal) -> None:
    [said] = refusal(a=plugin("a", route()), b=plugin("b", route()))
    assert placeless(said) == (
        "plugin b: the route GET /x is already plugin a's; disable one of the two"
    )


def test_a_route_is_the_same_whatever_its_parameter_is_called(refusal: Refusal) -> None:
    [said] = refusal(a=plugin("a", route(path="/x/{id}")), b=plugin("b", route(path="/x/{name}")))
    assert "the route GET /x/{name} is already plugin a's" in said


def test_another_method_is_another_route(load_plugins: LoadPlugins) -> None:
    kernel = load_plugins(a=plugin("a", route()), b=plugin("b", route("POST")))
    assert len(kernel.routes) == 2


def test_a_route_that_needs_a_role_where_no_one_knows_roles(refusal: Refusal) -> None:
    [said] = refusal(a=plugin("a", route(needs="CORE_ADMIN")))
    assert "plugin a: the route GET /x needs the service 'access'" in placeless(said)
    assert said.endswith("enable plugin rbac")


def test_a_route_that_needs_a_permission_no_one_registers(refusal: Refusal) -> None:
    access = plugin("acl", providing("access"))
    registering = giving("register_permissions", "[Permission('tea.drink')]")
    needing = route(needs="core_permission('tea.drunk')")
    body = f"{needing}\n{registering}"
    [said] = refusal(acl=access, a=plugin("a", body))
    assert "plugin a: the route GET /x needs the permission 'tea.drunk'" in placeless(said)
    assert said.endswith("did you mean 'tea.drink'?")


@pytest.mark.parametrize(
    ("hook", "value", "what"),
    [
        ("register_permissions", "[Permission('tea.drink')]", "permission 'tea.drink'"),
        ("register_commands", "[Command(name='brew', help='', run=None)]", "command 'brew'"),
        ("register_manifest_section", "ManifestSection('tea', {})", "manifest section 'tea'"),
        ("register_manifest_section", "[ManifestSection('tea', {})]", "manifest section 'tea'"),
    ],
)
def test_a_name_that_two_plugins_claim(refusal: Refusal, hook: str, value: str, what: str) -> None:
    body = giving(hook, value)
    [said] = refusal(a=plugin("a", body), b=plugin("b", body))
    assert placeless(said) == f"plugin b: the {what} is already plugin a's; rename one of the two"


def test_a_name_that_one_plugin_claims_twice(refusal: Refusal) -> None:
    body = giving("register_permissions", "[Permission('x'), Permission('x')]")
    [said] = refusal(a=plugin("a", body))
    assert placeless(said).startswith("plugin a: the permission 'x' is already plugin a's")


def test_a_command_of_the_kernel_cannot_be_taken(refusal: Refusal) -> None:
    body = giving("register_commands", "[Command(name='serve', help='', run=None)]")
    [said] = refusal(a=plugin("a", body))
    assert placeless(said).startswith("plugin a: the command 'serve' is already the kernel's")


@pytest.mark.parametrize("key", ["appId", "dataContract", "permissions"])
def test_a_key_of_every_manifest_is_no_section(refusal: Refusal, key: str) -> None:
    body = giving("register_manifest_section", f"ManifestSection({key!r}, {{}})")
    [said] = refusal(a=plugin("a", body))
    assert placeless(said).startswith(
        f"plugin a: the manifest section {key!r} is already every manifest's"
    )


def test_the_kernels_commands_are_the_ones_it_has() -> None:
    assert sorted(cli.command_line(None).commands) == sorted(contributions.KERNEL_COMMANDS)


def test_a_service_that_no_one_provides(refusal: Refusal) -> None:
    [said] = refusal(needy=plugin("needy", "requires = (ServiceKey('tea'),)"))
    said = placeless(said)
    assert said.startswith("plugin needy: needs the service 'tea', which no plugin provides; ")
    assert "(not on: app_logins, apps, audit, " in said
    assert said.endswith("or disable needy")


def test_two_plugins_that_provide_one_service_need_a_choice(
    refusal: Refusal, load_plugins: LoadPlugins
) -> None:
    both = {"a": plugin("a", providing("tea")), "b": plugin("b", providing("tea"))}
    [said] = refusal(**both)
    places = re.findall(r"\b([ab]) \(\S+/([ab])\.py:\d+\)", said)
    assert places == [("a", "a"), ("b", "b")]
    assert said.startswith("[services] tea: 2 plugins provide it: a (")
    assert said.endswith("; set tea = 'a' or tea = 'b'")
    assert load_plugins({"services.tea": "b"}, **both).services.provider("tea") == "b"


def test_a_choice_that_is_not_there(refusal: Refusal) -> None:
    a = plugin("butler", providing("tea"))
    assert refusal({"services.tea": "buttler", "services.teh": "butler"}, butler=a) == [
        "[services] teh: no plugin provides such a service; did you mean 'tea'?",
        "[services] tea: 'buttler' does not provide it; did you mean 'butler'?",
    ]


def test_needs_that_go_round_in_a_circle(refusal: Refusal) -> None:
    def link(name: str, gives: str, needs: str) -> str:
        return plugin(name, f"requires = (ServiceKey({needs!r}),)\n{providing(gives)}")

    outside = plugin("a", "requires = (ServiceKey('y'),)")
    [said] = refusal(a=outside, b=link("b", "x", "y"), c=link("c", "y", "x"))
    assert said.startswith("services: plugins need each other: ")
    assert "c needs 'x' of b, b needs 'y' of c" in said
    assert "a needs" not in said


def test_providers_come_before_those_who_need_them(load_plugins: LoadPlugins) -> None:
    needy = plugin("a", "requires = (ServiceKey('tea'),)")
    kernel = load_plugins(a=needy, z=plugin("z", providing("tea")), m=plugin("m"))
    assert [instance.name for instance in kernel.instances] == ["m", "z", "a"]


def test_a_service_that_a_plugin_provides_twice(refusal: Refusal) -> None:
    offers = ", ".join(["provide(ServiceKey('tea'), lambda _: 'tea')"] * 2)
    [said] = refusal(a=plugin("a", giving("provide_services", f"[{offers}]")))
    assert placeless(said) == "plugin a: provides the service 'tea' twice; remove one"


def test_a_factory_that_is_no_function(refusal: Refusal) -> None:
    offer = giving("provide_services", "[provide(ServiceKey('tea'), None)]")
    [said] = refusal(a=plugin("a", offer))
    problem = "plugin a: the factory of the service 'tea' is no function"
    assert placeless(said) == f"{problem}; return provide(KEY, factory)"


def test_a_hook_that_raises_at_load_names_its_plugin(refusal: Refusal) -> None:
    body = (
        "uses = (ACCESS,)\n@hookimpl\n"
        "def register_routes(self, services): return services.get(ACCESS)"
    )
    said = refusal(a=plugin("a", body), b=plugin("b", giving("register_commands", "1 / 0")))
    assert len(said) == 2
    assert "plugin b, " in said[0]
    assert "register_commands failed: ZeroDivisionError" in said[0]
    assert said[1].startswith("plugin a, ")
    assert "/a.py:" in said[1]
    assert "register_routes failed: LookupError: the service 'access' is not available" in said[1]


def test_every_mistake_is_reported_at_once(refusal: Refusal) -> None:
    said = refusal(
        {"plugins.nothing": {}}, a="1 / 0", b=plugin("c"), d=plugin("d", "kernel_api = 0")
    )
    assert len(said) == 4


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_plugin_can_be_switched_off_or_says_who_needs_it(name: str) -> None:
    """The application loads without it, or names what is missing and for whom."""
    overrides: dict[str, Any] = {f"plugins.{name}": {"enabled": False}}
    try:
        kernel = load(load_config(environ={}, overrides=overrides))
    except BootError as error:
        for line in str(error).splitlines():
            assert f"(not on: {name})" in line or "needs the service 'access'" in line, line
    else:
        assert name not in {instance.name for instance in kernel.instances}
        assert not [plugin for plugin, _ in kernel.routes if plugin == name]
