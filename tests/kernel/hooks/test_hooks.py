"""The hook bus: what is refused at load, and how each kind of call behaves."""

import re
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anyio
import pytest

from kernel.contracts import Actor, Event, hookspecs, server_actor
from kernel.contracts.hookspecs import for_subjects, hookimpl
from kernel.errors import BootError, Forbidden
from kernel.hooks.bus import PluggyBus
from kernel.hooks.implementation import HookImplementation
from kernel.hooks.plugin import Plugin
from tests.kernel.support import plugin

Refusal = Callable[..., list[str]]
EVENT = Event(app_id="crm", entity="contacts", operation="INSERT", actor=server_actor())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "@hookimpl\ndef register_rutes(self, services): ...",
            "there is no hook 'register_rutes'; did you mean 'register_routes'?",
        ),
        (
            "def register_routes(self, services): ...",
            "register_routes is a hook's name; add @hookimpl, or rename it",
        ),
        (
            "@hookimpl\ndef authenticate(self, request): ...",
            "authenticate must be async def; as its spec is",
        ),
        (
            "@hookimpl\nasync def register_routes(self, services): ...",
            "register_routes must be a plain def; as its spec is",
        ),
        (
            "@hookimpl\nasync def authenticate(self, req): ...",
            "authenticate has no argument 'req'; did you mean 'request'?",
        ),
        (
            "@hookimpl\ndef register_commands(self, cli): ...",
            "register_commands has no argument 'cli'; known: services",
        ),
        (
            "@hookimpl\ndef register_permissions(self, kind): ...",
            "register_permissions has no argument 'kind'; remove it: it has none",
        ),
        (
            "@hookimpl(wrapper=True)\nasync def authenticate(self, request): ...",
            "authenticate is a wrapper; write a plain implementation",
        ),
        (
            "@hookimpl\nasync def provide_services(self): ...",
            "provide_services must be a plain def; as its spec is",
        ),
    ],
)
def test_an_implementation_that_cannot_be_called(refusal: Refusal, body: str, words: str) -> None:
    [said] = refusal(wrong=plugin("wrong", body))
    assert said.startswith("plugin wrong, ")
    assert "wrong.py:" in said
    assert said.endswith(words)


def test_every_mistake_of_a_plugin_is_reported(refusal: Refusal) -> None:
    body = "@hookimpl\ndef helth(self): ...\ndef lifespan(self, services): ..."
    assert len(refusal(wrong=plugin("wrong", body))) == 2


def test_a_hook_of_a_plugin_that_may_be_off_is_optional(load_plugins: Callable[..., Any]) -> None:
    body = "@hookimpl(optionalhook=True)\nasync def tea_is_ready(self, pot): ..."
    assert load_plugins(fine=plugin("fine", body)).instances[0].name == "fine"


def spec_module(**functions: Callable[..., Any]) -> ModuleType:
    module = ModuleType("specs")
    for name, function in functions.items():
        setattr(module, name, hookspecs.hookspec(function))
    return module


def test_a_plugin_may_own_hooks() -> None:
    async def tea_is_ready(pot: str) -> str | None: ...

    class Owner(Plugin):
        @hookimpl
        async def tea_is_ready(self, pot: str) -> str | None:
            return f"{pot} is hot"

    bus = PluggyBus(hookspecs)
    bus.add_specs(spec_module(tea_is_ready=tea_is_ready), "kettle")
    bus.register(Owner(None, None), "owner")  # type: ignore[arg-type]
    bus.arrange(["owner"])
    assert anyio.run(lambda: bus.gather(tea_is_ready, pot="it")) == ["it is hot"]


def test_an_error_of_a_hook_keeps_the_one_that_it_followed() -> None:
    class Broken:
        @hookimpl
        async def event_recorded(self, event: Event) -> None:
            try:
                raise LookupError("first")
            except LookupError:
                raise ValueError("second")  # noqa: B904 - as an author forgets it

    async def call() -> None:
        [broken] = bus_of(Broken).implementations(hookspecs.event_recorded)
        await broken.call({"event": None})

    with pytest.raises(ValueError, match="second") as caught:
        anyio.run(call)
    assert isinstance(caught.value.__context__, LookupError)
    assert not caught.value.__suppress_context__


def test_a_hook_that_exists_is_not_declared_again() -> None:
    async def health() -> None: ...

    with pytest.raises(BootError, match="plugin kettle: declares the hook 'health'"):
        PluggyBus(hookspecs).add_specs(spec_module(health=health), "kettle")


def bus_of(*classes: type[Any], order: list[str] | None = None) -> PluggyBus:
    """A bus with an object of each class, named by its class in lower case."""
    bus = PluggyBus(hookspecs)
    for cls in classes:
        bus.register(cls(), cls.__name__.lower())
    bus.arrange(order or [cls.__name__.lower() for cls in classes])
    return bus


class A:
    heard: list[str]

    def __init__(self) -> None:
        self.heard = []

    @hookimpl
    async def authenticate(self, request: Any) -> Any:
        return None if request == "mine" else Actor(user_id="a", username=request)

    @hookimpl
    def session_settings(self, actor: Any) -> dict[str, str]:
        return {"from": "a"}

    @hookimpl
    async def worker_environment(self, app_id: str) -> dict[str, str] | None:
        return None if app_id == "none" else {"A": app_id}

    @hookimpl
    async def event_recorded(self, event: Event) -> None:
        if event.operation == "DELETE":
            raise Forbidden("not here")

    @hookimpl
    async def event_committed(self, event: Event) -> None:
        raise RuntimeError("an observer that fails")


class B(A):
    @hookimpl
    async def authenticate(self) -> Any:
        return Actor(user_id="b")

    @hookimpl
    def session_settings(self) -> dict[str, str]:
        return {"from": "b"}

    @hookimpl
    @for_subjects("crm.contacts", "hr.*")
    async def event_recorded(self, event: Event) -> None:
        self.heard.append(f"recorded {event.subject}")

    @hookimpl
    @for_subjects("crm.*")
    async def event_committed(self, event: Event) -> None:
        self.heard.append(f"committed {event.subject}")


def heard(bus: PluggyBus) -> list[str]:
    return bus.implementations("event_recorded")[-1].function.__self__.heard  # type: ignore[attr-defined]


def test_calls_come_in_the_order_of_the_plugins() -> None:
    for order in (["a", "b"], ["b", "a"]):
        answers = bus_of(A, B, order=order).collect(
            hookspecs.session_settings, actor=server_actor()
        )
        assert answers == [(name, {"from": name}) for name in order]


def test_a_plugin_that_is_left_out_is_not_called() -> None:
    bus = bus_of(A, B, order=["b"])
    assert [i.plugin for i in bus.implementations(hookspecs.event_recorded)] == ["b"]


def test_first_takes_the_first_answer() -> None:
    bus: Any = bus_of(A, B)
    known = anyio.run(lambda: bus.first(hookspecs.authenticate, request="r"))
    assert known == Actor(user_id="a", username="r")
    assert anyio.run(lambda: bus.first(hookspecs.authenticate, request="mine")).user_id == "b"


def test_the_arguments_of_a_hook_are_passed_by_name() -> None:
    bus: Any = bus_of(A, B)
    for call in (bus.first, bus.gather, bus.emit, bus.notify):
        with pytest.raises(TypeError, match="by name"):
            anyio.run(call, hookspecs.authenticate, "r")
    with pytest.raises(TypeError, match="by name"):
        bus.collect(hookspecs.register_routes, None)


def test_gather_takes_every_answer_but_none() -> None:
    bus = bus_of(A, B)
    for app, answers in (("crm", [{"A": "crm"}] * 2), ("none", [])):
        gathered = anyio.run(lambda app=app: bus.gather(hookspecs.worker_environment, app_id=app))
        assert gathered == answers


def test_emit_stops_at_the_first_who_refuses() -> None:
    bus: Any = bus_of(A, B)
    deleted = Event(app_id="crm", entity="contacts", operation="DELETE", actor=server_actor())
    with pytest.raises(Forbidden, match="not here"):
        anyio.run(lambda: bus.emit(hookspecs.event_recorded, tx=None, event=deleted))
    assert heard(bus) == []
    [refused, _] = bus.implementations(hookspecs.event_recorded)
    assert (refused.statistics.calls, refused.statistics.refusals, refused.statistics.errors) == (
        1,
        1,
        0,
    )
    assert refused.statistics.last_error == ""


@pytest.mark.parametrize(
    ("subject", "expected"),
    [("crm.contacts", True), ("hr.people", True), ("crm.deals", False), ("hrx.people", False)],
)
def test_only_those_who_are_concerned_are_reported(subject: str, expected: bool) -> None:
    bus: Any = bus_of(B)
    app, _, entity = subject.partition(".")
    event = Event(app_id=app, entity=entity, operation="INSERT", actor=server_actor())
    assert bool(bus.listeners(hookspecs.event_recorded, subject)) is expected
    anyio.run(lambda: bus.emit(hookspecs.event_recorded, tx=None, event=event))
    assert heard(bus) == ([f"recorded {subject}"] if expected else [])


def test_an_observer_that_fails_is_counted_and_hides_nothing_from_the_next() -> None:
    bus, before = bus_of(A, B), time.time()
    anyio.run(lambda: bus.notify(hookspecs.event_committed, event=EVENT))
    assert heard(bus) == ["committed crm.contacts"]
    [failed, _] = bus.implementations(hookspecs.event_committed)
    assert (failed.statistics.calls, failed.statistics.errors) == (1, 1)
    said = re.fullmatch(r"RuntimeError at (.*):\d+", failed.statistics.last_error)
    assert said is not None, failed.statistics.last_error
    assert said[1] == __file__
    assert before <= failed.statistics.failed_at <= time.time()


def test_who_is_concerned_is_found_once_for_a_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PluggyBus, "max_subjects", 2)
    bus, asked = bus_of(B), list[str]()
    [listener] = bus.implementations(hookspecs.event_committed)
    monkeypatch.setattr(
        HookImplementation, "matches", lambda _, subject: asked.append(subject) or True
    )
    for subject in ("crm.a", "crm.b", "crm.a", "crm.b", "crm.c", "crm.a"):
        assert bus.listeners(hookspecs.event_committed, subject)
    assert asked == ["crm.a", "crm.b", "crm.c", "crm.a"]  # what is remembered has a bound
    assert listener.statistics.calls == 0


def test_an_error_is_noted_with_the_plugin_the_hook_and_the_place() -> None:
    class Guard:
        @hookimpl
        async def authenticate(self, request: Any) -> Any:
            return request.no_such_thing

    bus: Any = bus_of(Guard)
    with pytest.raises(AttributeError) as caught:
        anyio.run(lambda: bus.first(hookspecs.authenticate, request=None))
    [note] = caught.value.__notes__
    assert note.startswith(f"plugin guard, hook authenticate, {__file__}:")
