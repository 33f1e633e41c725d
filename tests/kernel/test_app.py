"""The boot and its reverse: what is opened is closed, what fails is reported plainly."""

import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from kernel.app import lifespans, running
from kernel.cli.serve import Serving, bound_socket, run_check
from kernel.contracts.base import ServiceKey
from kernel.contracts.server import HTTP_SERVER
from kernel.contracts.statements import POOL, STATEMENTS
from kernel.errors import BadRequest, BootError, NotFound, unwrapped
from kernel.loading.kernel import Kernel
from plugins.http_server.server import UvicornServer
from tests.kernel.databases import sql
from tests.kernel.support import LoadPlugins
from tests.waiting import until

LOG: list[str] = []
CLOCK = [0.0]
"""What plugins of a test move on by what they are said to take."""
Load = Callable[..., Kernel]


def part(name: str, *, requires: str = "", factory: str = "pass", lifespan: str = "pass") -> str:
    """A plugin with a service and a lifespan that report their start and their end."""
    needs = f'requires = (ServiceKey("{requires}"),)' if requires else ""
    return textwrap.dedent(f'''
        from contextlib import asynccontextmanager
        import anyio
        from tests.kernel.test_app import CLOCK, LOG
        KEY = ServiceKey("{name}")

        class P(Plugin):
            name = "{name}"
            {needs}

            @hookimpl
            def provide_services(self):
                return [provide(KEY, self.make)]

            @asynccontextmanager
            async def make(self, services):
                LOG.append("make {name}")
                {factory}
                try:
                    yield "{name}"
                finally:
                    LOG.append("drop {name}")

            @hookimpl
            def lifespan(self, services):
                return self.live()

            @asynccontextmanager
            async def live(self):
                LOG.append("enter {name}")
                {lifespan}
                try:
                    yield
                finally:
                    LOG.append("leave {name}")
    ''')


@pytest.fixture
def kernel_of(load_plugins: LoadPlugins, database: str) -> Load:
    """Load parts on a database of their own."""
    LOG.clear()

    def load(config: dict[str, Any] | None = None, /, **files: str) -> Kernel:
        own = {"database.url": database, "database.wait": 0.2}
        return load_plugins({**own, **(config or {})}, **files)

    return load


async def visit(kernel: Kernel, inside: Callable[[], None] = lambda: None) -> None:
    """Start everything, look, and end."""
    async with running(kernel), lifespans(kernel):
        inside()


def connections(dsn: str) -> int:
    """How many connections of a server are open."""
    [(count,)] = sql(
        dsn,
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and application_name like 'caudex%%' and true"
        " and %s",
        True,
    )
    return count


async def all_closed(dsn: str) -> bool:
    """Whether a server left no connection; PostgreSQL notices by and by that we hung up."""
    with anyio.move_on_after(20):
        while connections(dsn):
            await anyio.sleep(0.02)
    return not connections(dsn)


async def test_everything_comes_in_order_and_goes_in_reverse(
    kernel_of: Load, database: str
) -> None:
    kernel = kernel_of(alpha=part("alpha", requires="beta"), beta=part("beta"))

    async def look() -> None:
        async with running(kernel) as services, lifespans(kernel):
            assert services.get(ServiceKey[str]("alpha")) == "alpha"
            assert services.find(POOL) is not None
            assert await services.get(STATEMENTS).fetch("select 1") == b"1"
            assert connections(database) >= 1
            LOG.append("serve")

    await look()
    assert LOG == [
        "make beta", "make alpha", "enter beta", "enter alpha", "serve",
        "leave alpha", "leave beta", "drop alpha", "drop beta",
    ]  # fmt: skip
    assert await all_closed(database)
    assert kernel.services.find(POOL) is None
    await look()  # a kernel can run again
    assert LOG[9:] == LOG[:9]


@pytest.mark.parametrize("kind", ["factory", "lifespan"])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        ('raise BootError("here", "wrong", "do")', "here: wrong; do"),
        ('raise BadRequest("not like that")', "not like that"),
        ('raise LookupError("gone")', "it failed to start: LookupError: gone; fix it, disable it"),
        ('raise OSError(13, "Permission denied")', "Permission denied"),
        ("async with anyio.create_task_group(): raise BootError('in', 'a group')", "in: a group"),
    ],
)
async def test_what_fails_to_start_is_one_plain_boot_error_and_the_rest_is_closed(
    kernel_of: Load, database: str, kind: str, error: str, says: str
) -> None:
    broken = part("alpha", requires="beta", factory=error if kind == "factory" else "pass",
                  lifespan=error if kind == "lifespan" else "pass")  # fmt: skip
    kernel = kernel_of(alpha=broken, beta=part("beta"), gamma=part("gamma", requires="alpha"))
    with pytest.raises(BootError) as caught:
        await visit(kernel)
    assert type(caught.value) is BootError
    said = str(caught.value)
    assert says in said
    assert "\n" not in said
    if not says.startswith(("here", "in:")):
        assert said.startswith("plugin alpha" + (", service 'alpha'" * (kind == "factory")))
    if "it failed to start" in said:
        assert "/alpha.py:" in said
    assert LOG.count("make beta") == LOG.count("drop beta") == 1
    assert LOG.count("enter beta") == LOG.count("leave beta")
    assert "enter gamma" not in LOG
    assert await all_closed(database)


MISSABLE = {"plugins.alpha": {"on_failure": "degrade"}}


@pytest.mark.parametrize("kind", ["factory", "lifespan"])
async def test_a_plugin_that_may_be_missed_is_left_out_when_it_fails_to_start(
    kernel_of: Load, kind: str
) -> None:
    broken = part("alpha", requires="beta", **{kind: 'raise LookupError("gone")'})
    kernel = kernel_of(MISSABLE, alpha=broken, beta=part("beta"), gamma=part("gamma"))
    async with running(kernel) as services, lifespans(kernel):
        assert services.find(ServiceKey[str]("alpha")) is None
        assert services.get(ServiceKey[str]("beta")) == "beta"
        assert "enter gamma" in LOG
        assert not [i for i in kernel.bus.all_implementations() if i.plugin == "alpha"]
        [info] = [info for info in kernel.plugins if info.state == "degraded"]
        assert info.name == "alpha"
        assert "/alpha.py:" in info.note
        assert "it failed to start: LookupError: gone" in info.note
    assert LOG.count("make beta") == LOG.count("drop beta") == 1
    assert LOG.count("enter gamma") == LOG.count("leave gamma") == 1


async def test_what_it_had_built_before_it_failed_is_closed(kernel_of: Load) -> None:
    two = part("alpha")
    two = two.replace(
        "return [provide(KEY, self.make)]",
        'return [provide(KEY, self.make), provide(ServiceKey("other"), lambda s: 1 / 0)]',
    )
    kernel = kernel_of(MISSABLE, alpha=two, beta=part("beta"))
    async with running(kernel) as services:
        assert LOG == ["make alpha", "drop alpha", "make beta"]
        assert services.find(ServiceKey[str]("alpha")) is None


@pytest.mark.parametrize("kind", ["factory", "lifespan"])
async def test_a_plugin_that_others_need_is_not_left_out(kernel_of: Load, kind: str) -> None:
    broken = part("alpha", **{kind: 'raise LookupError("gone")'})
    kernel = kernel_of(MISSABLE, alpha=broken, gamma=part("gamma", requires="alpha"))
    with pytest.raises(BootError) as caught:
        await visit(kernel)
    [failure, reason] = str(caught.value).splitlines()
    assert "it failed to start: LookupError: gone" in failure
    assert reason == (
        "plugin alpha: cannot be left out: gamma needs 'alpha'; fix it, or disable these too"
    )


async def test_a_plugin_whose_service_another_one_wraps_is_not_left_out(kernel_of: Load) -> None:
    over = part("over").replace('ServiceKey("over")', 'ServiceKey("alpha")')
    over = over.replace("self.make)", "lambda _, inner: inner, over=True)")
    with pytest.raises(BootError) as caught:
        await visit(kernel_of(MISSABLE, alpha=part("alpha", factory="1 / 0"), over=over))
    _, reason = str(caught.value).splitlines()
    assert reason == (
        "plugin alpha: cannot be left out: over wraps 'alpha'; fix it, or disable these too"
    )


@pytest.mark.parametrize("kind", ["factory", "lifespan"])
async def test_an_engine_that_routes_need_is_not_left_out(kernel_of: Load, kind: str) -> None:
    """A plugin that offers a service does not require it, and gets the chosen one all the same."""
    front = part("front").replace('ServiceKey("front")', 'ServiceKey("alpha")')
    front += (
        "\n    @hookimpl\n    def register_routes(self, services):"
        "\n        return [Route('GET', '/alpha', self.answer, needs=PUBLIC)]\n"
        "\n    async def answer(self, request): ...\n"
    )
    broken = part("alpha", **{kind: 'raise LookupError("gone")'})
    with pytest.raises(BootError) as caught:
        await visit(kernel_of({**MISSABLE, "services.alpha": "alpha"}, alpha=broken, front=front))
    _, reason = str(caught.value).splitlines()
    assert reason == (
        "plugin alpha: cannot be left out: routes of front need 'alpha'; "
        "fix it, or disable these too"
    )


async def test_an_engine_is_left_out_beside_another_that_is_not_chosen(kernel_of: Load) -> None:
    spare = part("spare").replace('ServiceKey("spare")', 'ServiceKey("alpha")')
    broken = part("alpha", factory="1 / 0")
    kernel = kernel_of({**MISSABLE, "services.alpha": "alpha"}, alpha=broken, spare=spare)
    async with running(kernel), lifespans(kernel):
        assert [i.name for i in kernel.plugins if i.state == "degraded"] == ["alpha"]


async def test_a_plugin_that_guards_is_not_left_out_when_it_fails_to_start(kernel_of: Load) -> None:
    guard = part("alpha", factory="1 / 0") + (
        "\n    @hookimpl\n    async def record_writing(self, change): ...\n"
    )
    with pytest.raises(BootError, match=r"left out: its hooks protect requests \(record_writing\)"):
        await visit(kernel_of(MISSABLE, alpha=guard))


async def test_what_it_understood_of_manifests_is_understood_no_more(kernel_of: Load) -> None:
    section = (
        "\n    @hookimpl\n    def register_manifest_section(self):"
        "\n        return ManifestSection(key='tea', schema={})\n"
    )
    kernel = kernel_of(MISSABLE, alpha=part("alpha", factory="1 / 0") + section)
    assert [plugin for plugin, _ in kernel.manifest_sections] == ["alpha"]
    async with running(kernel):
        assert kernel.manifest_sections == []


async def test_the_boot_says_how_long_each_plugin_took(
    kernel_of: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.loading.slow_starts.perf_counter", lambda: CLOCK[0])
    slow = part("beta", factory="CLOCK[0] += 0.05", lifespan="CLOCK[0] += 0.05")
    head = "from tests.kernel.test_app import CLOCK\nCLOCK[0] += 0.05\n"
    kernel = kernel_of(
        alpha=part("alpha", factory="CLOCK[0] += 0.01"), beta=f"{head}{slow}", gamma=part("gamma")
    )
    with capture_logs() as logs:
        await visit(kernel)
    [line] = [line for line in logs if line["event"] == "the plugins have started"]
    assert line["log_level"] == "info"
    assert list(line["seconds"].items()) == [("beta", 0.15), ("alpha", 0.01)]  # the dearest first
    assert kernel.boot_seconds["gamma"] == 0.0


async def test_an_error_of_the_body_is_raised_as_itself(kernel_of: Load) -> None:
    kernel = kernel_of(alpha=part("alpha"))

    def fail() -> None:
        raise NotFound("no such user")

    with pytest.raises(NotFound, match="no such user"):
        await visit(kernel, fail)
    assert LOG[-2:] == ["leave alpha", "drop alpha"]


async def test_a_service_or_a_lifespan_that_ends_badly_does_not_keep_others_from_ending(
    kernel_of: Load, database: str
) -> None:
    bad = part("alpha", requires="beta").replace(
        'LOG.append("leave alpha")', 'raise LookupError("leaving")'
    )
    kernel = kernel_of(alpha=bad, beta=part("beta"))
    with pytest.raises(LookupError, match="leaving"):
        await visit(kernel)
    assert LOG[-3:] == ["leave beta", "drop alpha", "drop beta"]
    assert await all_closed(database)


async def test_a_boot_that_is_given_up_closes_what_it_opened(
    kernel_of: Load, database: str
) -> None:
    kernel = kernel_of(alpha=part("alpha", factory="await anyio.sleep(30)"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(visit, kernel)
        await until(lambda: LOG, 30)
        tasks.cancel_scope.cancel()
    assert LOG == ["make alpha"]
    assert await all_closed(database)


async def test_without_a_database_there_is_a_remedy(load_plugins: LoadPlugins) -> None:
    with pytest.raises(BootError) as caught:
        await visit(load_plugins())
    assert str(caught.value) == "database: no database is configured; set [database] url"


@pytest.mark.slow
async def test_a_server_looks_after_its_database_whatever_the_look_raises(
    kernel_of: Load, database: str
) -> None:
    calls: list[int] = []

    def look() -> None:
        calls.append(1)
        raise OSError("the look failed")

    kernel = kernel_of(alpha=part("alpha"))
    kernel.services.provide(HTTP_SERVER, lambda _: UvicornServer(), by="http_server")
    with bound_socket(kernel.config) as listener:
        serving = Serving(kernel, listener, drain=1, keep_database_running=partial(run_check, look))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serving.run, lambda: None)
            await until(lambda: len(calls) > 2, 30)
            serving.stop()


async def test_a_boot_error_is_preferred_to_what_happened_beside_it() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def fail_together(*errors: Exception) -> None:
        with unwrapped():
            async with anyio.create_task_group() as tasks:
                for error in errors:
                    tasks.start_soon(fail, error)

    with pytest.raises(BootError, match="it"):
        await fail_together(LookupError("beside"), BootError("it", "is"))
    with pytest.raises(ExceptionGroup):
        await fail_together(LookupError("one"), BadRequest("two"))


def test_the_data_folder_is_not_touched_by_a_boot_with_an_own_database(
    kernel_of: Load, tmp_path: Path
) -> None:
    kernel = kernel_of(alpha=part("alpha"))
    anyio.run(visit, kernel)
    assert not (tmp_path / "data").exists()
