"""One answer for each key, built once, in order, and only if it was chosen."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from kernel.contracts import ServiceKey
from kernel.errors import BootError
from kernel.hooks.services import KERNEL, ServiceContainer

TEA = ServiceKey[str]("tea")
POT = ServiceKey[str]("pot")


def start(services: ServiceContainer, *plugins: str, ask: Any = None) -> Any:
    """Build what is offered, and return what `ask` gets meanwhile."""

    async def run() -> Any:
        async with AsyncExitStack() as stack:
            for plugin in (KERNEL, *plugins):
                await services.start(stack, plugin)
            return ask(services) if ask else None

    return anyio.run(run)


def test_a_service_is_built_and_given() -> None:
    services = ServiceContainer()
    services.provide(POT, lambda _: "pot", by="kitchen")
    services.provide(TEA, lambda s: f"tea from the {s.get(POT)}", by="butler")
    given = start(services, "kitchen", "butler", ask=lambda s: (s.get(TEA), s.find(TEA)))
    assert given == ("tea from the pot",) * 2


def test_a_service_is_gone_when_the_server_is() -> None:
    services = ServiceContainer()
    services.provide(TEA, lambda _: "tea", by="butler")
    start(services, "butler")
    assert services.find(TEA) is None
    with pytest.raises(LookupError, match="'tea' is not available"):
        services.get(TEA)


def test_a_context_manager_is_entered_and_left() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def brewing(_: ServiceContainer) -> AsyncGenerator[str]:
        steps.append("boil")
        yield "tea"
        steps.append("wash up")

    services = ServiceContainer()
    services.provide(TEA, brewing, by="butler")
    assert start(services, "butler", ask=lambda s: (s.get(TEA), list(steps))) == ("tea", ["boil"])
    assert steps == ["boil", "wash up"]


def test_what_closes_finds_the_services_that_started_before_it() -> None:
    found: list[str] = []

    @asynccontextmanager
    async def brewing(services: ServiceContainer) -> AsyncGenerator[str]:
        yield "tea"
        found.append(services.get(POT))

    services = ServiceContainer()
    services.provide(POT, lambda _: "pot", by="kitchen")
    services.provide(TEA, brewing, by="butler")
    start(services, "kitchen", "butler")
    assert found == ["pot"]


def test_only_the_chosen_offer_is_built() -> None:
    services = ServiceContainer({"tea": "butler"})
    services.provide(TEA, lambda _: "tea", by="butler")
    services.provide(TEA, lambda _: pytest.fail("was not chosen"), by="robot")
    assert start(services, "robot", "butler", ask=lambda s: s.get(TEA)) == "tea"


def test_two_offers_want_a_choice() -> None:
    services = ServiceContainer()
    services.provide(TEA, lambda _: "tea", by="butler")
    services.provide(TEA, lambda _: "tea", by="robot")
    [error] = services.check()
    assert error.remedy == "set tea = 'butler' or tea = 'robot'"


def test_what_the_kernel_offers_is_in_force_until_another_is_chosen() -> None:
    for chosen, given in (({}, "plain"), ({"tea": "kernel"}, "plain"), ({"tea": "robot"}, "fast")):
        services = ServiceContainer(chosen)
        services.provide(TEA, lambda _: "plain", by=KERNEL)
        services.provide(TEA, lambda _: "fast", by="robot")
        assert services.check() == []
        assert start(services, KERNEL, "robot", ask=lambda s: s.get(TEA)) == given


def test_one_plugin_offers_a_key_once() -> None:
    services = ServiceContainer()
    services.provide(TEA, lambda _: "tea", by="butler")
    problem = rf"plugin butler, {__file__}:\d+: provides the service 'tea' twice; remove one"
    with pytest.raises(BootError, match=problem):
        services.provide(TEA, lambda _: "tea", by="butler")


def test_a_factory_that_fails_names_plugin_and_service() -> None:
    services = ServiceContainer()
    services.provide(TEA, lambda s: s.get(POT), by="butler")
    said = (
        r"plugin butler, service 'tea', .*:\d+: it failed to start: LookupError: the service 'pot'"
    )
    with pytest.raises(BootError, match=said):
        start(services, "butler")
    services.provide(POT, lambda _: "pot", by="kitchen")
    assert start(services, "kitchen", "butler", ask=lambda s: s.get(TEA)) == "pot"


def test_a_boot_error_of_a_factory_is_unchanged() -> None:
    services = ServiceContainer()

    def no_key(_: ServiceContainer) -> str:
        raise BootError("key master", "is missing", "make one")

    services.provide(TEA, no_key, by="butler")
    with pytest.raises(BootError, match=r"^key master: is missing; make one$"):
        start(services, "butler")


def test_a_built_service_can_be_added() -> None:
    services = ServiceContainer()
    services.put(TEA, "cold tea")
    assert services.get(TEA) == "cold tea"


def test_one_service_can_be_built_before_the_others() -> None:
    services, built = ServiceContainer(), list[str]()
    services.provide(TEA, lambda _: built.append("tea") or "tea", by="butler")
    assert services.build_early(POT) is None
    assert services.build_early(TEA) == "tea"
    assert start(services, "butler", ask=lambda s: s.get(TEA)) == "tea"
    assert built == ["tea"]


def test_a_wrapper_gets_the_chosen_engine_and_takes_its_place() -> None:
    services = ServiceContainer({"tea": "butler"})
    services.provide(TEA, lambda _: "tea", by="butler")
    services.provide(TEA, lambda _: "coffee", by="maid")
    services.wrap(TEA, lambda _, inner: f"sweet {inner}", by="sugar")
    services.wrap(TEA, lambda _, inner: f"cold {inner}", by="ice")
    assert services.chain("tea") == ["butler", "ice", "sugar"]
    assert services.chain("tea", before="sugar") == ["butler", "ice"]
    plugins = ("maid", "butler", "ice", "sugar")
    assert start(services, *plugins, ask=lambda s: s.get(TEA)) == "sweet cold tea"
    assert services.provider("tea") == "butler"


def test_a_wrapper_that_is_a_context_manager_is_left_before_the_engine() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def engine(_: ServiceContainer) -> AsyncGenerator[str]:
        yield "tea"
        seen.append("engine left")

    @asynccontextmanager
    async def wrapper(_: ServiceContainer, inner: str) -> AsyncGenerator[str]:
        yield f"sweet {inner}"
        seen.append("wrapper left")

    services = ServiceContainer()
    services.provide(TEA, engine, by="butler")
    services.wrap(TEA, wrapper, by="sugar")
    assert start(services, "butler", "sugar", ask=lambda s: s.get(TEA)) == "sweet tea"
    assert seen == ["wrapper left", "engine left"]
