"""The life of server processes: start, signals, several of them, reload, death."""

import json
import os
import pty
import re
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from kernel.testing import Client
from kernel.testing.servers import NO_TLS
from tests.kernel.databases import sql
from tests.kernel.processes import (
    PROBE,
    Served,
    alive,
    caudex,
    descendants,
    open_folder,
    write_config,
)
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Path:
    """A folder with a caudex.toml and the plugin `probe`."""
    (tmp_path / "probe.py").write_text(PROBE)
    write_config(
        tmp_path,
        {
            "server": {"data_dir": str(tmp_path / "data"), "plugin_files": ["probe.py"]},
            "database": {"url": database, "wait": 5.0, "pool_size": 4},
        },
    )
    return tmp_path


RELOADING = """

from caudex import Section


class ProbeConfig(Section, frozen=True, kw_only=True):
    word: str = "a"
    deep: int = 1


def take_over(self, config):
    structlog.get_logger("probe").debug(f"the word is {config.word}")
    return [key for key in ("deep",) if config.deep != self.config.deep]


ProbePlugin.Config = ProbeConfig
ProbePlugin.on_reload = take_over
"""
"""Settings of the probe, of which one can be reloaded."""


class Crowd:
    """Clients that send requests as fast as they can, and note what comes back."""

    def __init__(self, url: str, count: int = 6) -> None:
        self.answers: list[int] = []
        self.wrong: list[str] = []
        self._url = url
        self._leave = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def _ask(self) -> None:
        with Client(base_url=self._url, timeout=35) as client:
            while not self._leave.is_set():
                try:
                    answer = client.get("/probe")
                except httpx.TransportError:
                    time.sleep(0.01)  # nothing was answered, so nothing was answered wrongly
                    continue
                self.answers.append(answer.status_code)
                if answer.status_code != 200 or answer.json()["version"] != 1:
                    self.wrong.append(answer.text)

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join()


class Asking(threading.Thread):
    """One request in a thread of its own, which the server has begun to answer."""

    def __init__(self, server: Served, path: str) -> None:
        super().__init__()
        self._url = server.url + path
        self.answer: Any = None
        before = server.err.count("it waits")
        self.start()
        eventually(lambda: server.err.count("it waits") > before, 20, lambda: server.err)

    def run(self) -> None:
        try:
            self.answer = httpx.get(self._url, timeout=60, verify=NO_TLS)
        except httpx.TransportError as error:
            self.answer = error

    def result(self, seconds: float = 40) -> Any:
        self.join(seconds)
        assert not self.is_alive()
        return self.answer


@pytest.fixture(params=[1, 2])
def server(request: pytest.FixtureRequest, folder: Path) -> Generator[Served]:
    """A server of one process, and of two."""
    with Served("--workers", str(request.param), cwd=folder) as served:
        yield served


# --- signals --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_status_0(folder: Path, number: int) -> None:
    with Served(cwd=folder) as server:
        assert server.get("/probe").json()["version"] == 1
        status, seconds = server.end(number)
        assert (status, seconds < 15) == (0, True)
        assert "Traceback" not in server.err
        assert [line for line in server.err.splitlines() if "error" in line] == []


def test_a_signal_under_load_answers_nothing_wrongly(server: Served) -> None:
    with Crowd(server.url) as crowd:
        eventually(lambda: len(crowd.answers) > 100, 20)
        below = descendants(server.process.pid)
        status, seconds = server.end()
    assert (status, seconds < 30) == (0, True), server.err
    assert crowd.wrong == []
    eventually(lambda: not alive(below), 20)  # multiprocessing's own helper goes last
    assert "Traceback" not in server.err


def test_a_request_under_way_is_finished_and_new_ones_are_not_taken(server: Served) -> None:
    slow = Asking(server, "/probe/slow/6")
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: _status(server, "/probe") is None, 5)
    assert slow.is_alive()  # they were refused while that one went on
    assert slow.result().json() == {"waited": True}
    assert server.process.wait(10) == 0


def test_a_second_signal_ends_it_at_once(server: Served) -> None:
    slow = Asking(server, "/probe/slow/60")
    below = descendants(server.process.pid)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: _status(server, "/probe") is None, 10)  # two at once would count as one
    assert server.process.poll() is None
    _, seconds = server.end()
    assert seconds < 10, server.err  # the first one leaves the request 20 s
    answer = slow.result()
    if not isinstance(answer, httpx.TransportError):
        assert (answer.status_code, list(answer.json())) == (503, ["error"])
    eventually(lambda: not alive(below), 20)


def test_a_request_that_does_not_end_is_cut_in_time_and_reported(folder: Path) -> None:
    with Served(cwd=folder) as server:
        slow = Asking(server, "/probe/slow/60")
        status, seconds = server.end()
        assert (status, 19 < seconds < 30) == (0, True), server.err
        assert (slow.result().status_code, list(slow.result().json())) == (503, ["error"])


def test_endless_streams_end_with_the_lifespans_and_do_not_hold_up_the_end(folder: Path) -> None:
    with Served(cwd=folder) as server:
        stream = Asking(server, "/probe/stream")
        status, seconds = server.end()
        assert (status, seconds < 15) == (0, True)
        assert stream.result().text.endswith("line\nlast\n")


def test_a_signal_of_a_terminal_reaches_every_process_and_counts_once(folder: Path) -> None:
    with Served("--workers", "2", cwd=folder) as server:
        pids: set[int] = set()
        eventually(lambda: len(pids.union(_pids(server, pids))) == 2, 30)
        slow = Asking(server, "/probe/slow/1.5")
        status, _ = server.end(signal.SIGINT, group=True)
        assert status == 0, server.err
        assert slow.result().json() == {"waited": True}
        assert "KeyboardInterrupt" not in server.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_end_of_a_terminal_ends_the_server(folder: Path, workers: str) -> None:
    ours, theirs = pty.openpty()
    with Served("--workers", workers, cwd=folder, terminal=theirs) as server:
        os.close(theirs)
        os.close(ours)
        assert server.process.wait(20) == 0, server.err
        assert "Traceback" not in server.err


@pytest.mark.parametrize("workers", [1, 2])
def test_hangup_reloads_what_can_be_and_names_what_needs_a_restart(
    folder: Path, workers: int
) -> None:
    (folder / "probe.py").write_text(PROBE + RELOADING)
    config = folder / "caudex.toml"
    good = config.read_text()
    with Served("--workers", str(workers), cwd=folder) as server:
        started = "the plugins have started"
        eventually(lambda: server.err.count(started) == workers, 30, lambda: server.err)
        config.write_text("[server\n")
        server.process.send_signal(signal.SIGHUP)
        refused = "the configuration is not reloaded"
        eventually(lambda: server.err.count(refused) == workers, 20, lambda: server.err)
        assert _allowed(server) is None

        more = good.replace(
            "[server]",
            "[server]\nallowed_hosts = ['tools.example.com']\n"
            "cors_origins = ['https://a.example.com']\nmax_requests = 50",
            1,
        )
        more = (
            more.replace("wait = 5.0", "wait = 6.0") + '\n[plugins.probe]\nword = "b"\ndeep = 2\n'
        )
        config.write_text(more + '[plugins.console]\nenabled = false\n[log]\nlevel = "debug"\n')
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: server.err.count('"applied"') == workers, 20, lambda: server.err)
        said = [json.loads(line) for line in server.err.splitlines() if '"applied"' in line]
        for line in said:
            assert line["event"] == "the configuration is reloaded"
            assert sorted(line["applied"]) == [
                "[log] level", "[plugins.probe] word", "[server] allowed_hosts",
                "[server] cors_origins", "[server] max_requests",
            ]  # fmt: skip
            assert sorted(line["restart"]) == [
                "[database] wait", "[plugins.console] enabled", "[plugins.probe] deep",
            ]  # fmt: skip
        assert _allowed(server) == "https://a.example.com"
        assert server.err.count("the word is b") == workers
        assert server.end()[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_was_started_by_nohup_outlives_the_terminal(
    folder: Path, workers: str
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        started = Served("--workers", workers, cwd=folder)
    finally:
        signal.signal(signal.SIGHUP, before)
    with started as server:
        os.killpg(server.process.pid, signal.SIGHUP)
        slow = Asking(server, "/probe/slow/1.5")  # longer than it would take to stop
        assert slow.result().json() == {"waited": True}
        assert server.get("/probe").status_code == 200
        assert server.end()[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_while_the_database_is_waited_for_ends_it_too(
    tmp_path: Path, workers: str
) -> None:
    write_config(
        tmp_path,
        {"database": {"url": "postgresql://u@127.0.0.1:1/x"}, "server": {"data_dir": "data"}},
    )
    server = Served("--workers", workers, cwd=tmp_path)
    eventually(lambda: "waiting for the database" in server.err, 20)
    status, seconds = server.end()
    assert (status, seconds < 15) == (0, True), server.err
    assert "Traceback" not in server.err


def test_a_signal_before_the_event_loop_runs_is_not_forgotten(folder: Path) -> None:
    reported_early = (
        "import os, signal\n"
        "from kernel.cli.loop import ServerLoop\n"
        "_run = ServerLoop.run_main\n"
        "def run(self, work, fault_finder):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return _run(self, work, fault_finder)\n"
        "ServerLoop.run_main = run\n"
    )
    (folder / "probe.py").write_text(f"{PROBE}\n\n{reported_early}")
    server = Served(cwd=folder)
    try:
        assert server.process.wait(20) == 0, server.err
    finally:
        server.process.kill()
    assert "Traceback" not in server.err


def test_a_plugin_that_crashes_later_is_named_and_the_server_goes_on(folder: Path) -> None:
    crashing = PROBE.replace(
        "        yield\n",
        "        async with anyio.create_task_group() as tasks:\n"
        "            tasks.start_soon(self.crash)\n"
        "            yield\n",
        1,
    ) + (
        "\n    async def crash(self):\n"
        "        while not os.path.exists('crash'):\n"
        "            await anyio.sleep(0.05)\n"
        "        raise LookupError('background')\n"
    )
    (folder / "probe.py").write_text(crashing)
    with Served(cwd=folder) as server:
        (folder / "crash").touch()
        eventually(lambda: "LookupError" in server.err, 15)
        assert server.process.poll() is None
        line = crashing[: crashing.index("raise LookupError")].count("\n") + 1
        assert f"probe.py:{line}" in server.err
        assert '"plugin": "probe"' in server.err


# --- several processes ----------------------------------------------------------------------


def test_two_processes_share_the_load(folder: Path) -> None:
    with Served("--workers", "2", cwd=folder) as server:
        below = descendants(server.process.pid)
        pids: set[int] = set()
        eventually(lambda: len(pids.union(_pids(server, pids))) == 2, 30)
        assert pids <= descendants(server.process.pid) | below
        assert server.process.pid not in pids


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_public_server_prints_where_the_first_account_is_created(
    folder: Path, workers: str
) -> None:
    """Once, whatever the number of processes, and until there is an account."""
    public = ("--host", "0.0.0.0", "--workers", workers)
    with Served(*public, cwd=folder) as server:
        [token] = re.findall(
            r"Create the first account: http://\S+/console/#setup=(\S+)", server.err
        )
        assert "first user to register" not in server.err
        body = {"username": "ada", "password": "Str0ngPass!x"}
        register = f"http://127.0.0.1:{server.url.rpartition(':')[2]}/api/v1/auth/register"
        for setup, status in (("guess", 403), (token, 201), (token, 403)):
            headers = {"x-setup-token": setup}
            answer = httpx.post(register, json=body, headers=headers, verify=NO_TLS)
            assert answer.status_code == status, answer.text
    with Served(*public, cwd=folder) as server:
        assert "#setup=" not in server.err


def test_a_process_that_dies_is_replaced(folder: Path) -> None:
    with Served("--workers", "2", cwd=folder) as server:
        first: set[int] = set()
        eventually(lambda: len(first.union(_pids(server, first))) == 2, 30)
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        seen: set[int] = set()
        eventually(lambda: len(seen.union(_pids(server, seen)) - {victim}) == 2, 30)
        assert "a server process died" in server.err
        assert server.end()[0] == 0


def _pids(server: Served, into: set[int]) -> set[int]:
    with suppress(httpx.TransportError):  # of one that just died
        into.add(server.get("/probe").json()["pid"])
    return into


def test_a_parent_that_is_killed_leaves_no_orphan(folder: Path) -> None:
    with Served("--workers", "2", cwd=folder) as server:
        pids: set[int] = set()
        eventually(lambda: len(pids.union(_pids(server, pids))) == 2, 30)
        below = descendants(server.process.pid)
        assert pids <= below
        server.end(signal.SIGKILL)
        eventually(lambda: not alive(below), 30, lambda: alive(below))


@pytest.fixture
def embedding() -> Generator[Path]:
    """A folder with an embedded database and the plugin `probe`."""
    with open_folder() as folder:
        (folder / "probe.py").write_text(PROBE)
        write_config(
            folder,
            {
                "server": {"data_dir": str(folder / "data"), "plugin_files": ["probe.py"]},
                "plugins.postgres": {"port": 0},
            },
        )
        yield folder


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_server_takes_its_embedded_database_with_it_and_starts_again(
    embedding: Path, workers: str
) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        with Served("--workers", workers, cwd=embedding) as server:
            assert server.get("/health/ready").status_code == 200
            below = descendants(server.process.pid)
            assert len(below) > 5
            status, _ = server.end(number)
            assert status == (0 if number == signal.SIGTERM else -9), server.err
            eventually(lambda pids=below: not alive(pids), 30, lambda pids=below: alive(pids))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_embedded_database_that_dies_is_started_again(embedding: Path, workers: str) -> None:
    with Served("--workers", workers, cwd=embedding) as server:
        pids: set[int] = set()
        eventually(lambda: len(pids.union(_pids(server, pids))) == int(workers), 30)
        first = _postmaster(embedding)
        os.kill(first, signal.SIGQUIT)
        eventually(lambda: _postmaster(embedding) not in (0, first), 15, lambda: server.err)
        assert server.get("/health").status_code == 200
        eventually(lambda: server.get("/health/ready").status_code == 200, 15, lambda: server.err)
        assert pids == _pids(server, set(pids))
        assert server.end()[0] == 0


def _postmaster(folder: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int((folder / "data/postgres/postmaster.pid").read_text().split()[0])
    return 0


def test_only_one_line_is_said_when_several_processes_cannot_start(folder: Path) -> None:
    broken = PROBE.replace(
        "        yield\n", "        raise BootError('it', 'is', 'so')\n        yield\n", 1
    )
    (folder / "probe.py").write_text(broken.replace("import PUBLIC,", "import BootError, PUBLIC,"))
    ended = caudex("serve", "--port", "0", "--workers", "3", cwd=folder)
    assert ended.refusal == "it: is; so"


# --- reload ---------------------------------------------------------------------------------


def test_reload_serves_what_changed(folder: Path) -> None:
    plugin = folder / "extra.py"
    plugin.write_text(PROBE.replace("probe", "extra").replace("ProbePlugin", "ExtraPlugin"))
    with Served("--reload", "--plugin", str(plugin), cwd=folder) as server:
        assert _version(server, "/extra") == 1
        _rewrite(plugin, '"version": 1', '"version": 2')
        eventually(lambda: _version(server, "/extra") == 2, 20, lambda: server.err)

        _rewrite(plugin, '"version": 2', '"version": = 3')
        eventually(lambda: _status(server, "/probe") == 503, 20, lambda: server.err)
        answer = server.get("/probe")
        assert answer.headers["retry-after"] == "2"
        said = answer.json()["error"]
        assert said.startswith("the server does not start: plugin extra, ")
        assert "extra.py" in said
        assert "SyntaxError" in said
        assert "SyntaxError" in server.err
        assert server.process.poll() is None
        _rewrite(plugin, '"version": = 3', '"version": 4')
        eventually(lambda: _version(server, "/extra") == 4, 20, lambda: server.err)
        assert server.end()[0] == 0
        assert "Traceback" not in server.err


@pytest.mark.parametrize(("words", "lines"), [(["--reload"], 2), ([], 1)])
def test_code_that_blocks_is_logged_each_time_under_reload(
    folder: Path, words: list[str], lines: int
) -> None:
    slow = PROBE.replace("return reply(", "__import__('time').sleep(0.6)\n        return reply(", 1)
    assert slow != PROBE
    (folder / "probe.py").write_text(slow)
    with Served(*words, cwd=folder, env={"CAUDEX_SERVER__SERVER_TIMING": "false"}) as server:
        assert [_status(server, "/probe") for _ in range(2)] == [200, 200]
        blocked = [line for line in server.err.splitlines() if "event loop is blocked" in line]
        assert len([line for line in blocked if "probe.py:" in line]) == lines, server.err


def test_reload_notices_files_of_the_folder_that_come_change_and_go(folder: Path) -> None:
    dropped = folder / "dropped"
    dropped.mkdir()
    config = folder / "caudex.toml"
    text = config.read_text().replace("[server]", f'[server]\nplugins_dir = "{dropped}"', 1)
    config.write_text(text)
    plugin = dropped / "extra.py"
    with Served("--reload", cwd=folder) as server:
        assert server.get("/extra").status_code == 404
        plugin.write_text(PROBE.replace("probe", "extra").replace("ProbePlugin", "ExtraPlugin"))
        eventually(lambda: _version(server, "/extra") == 1, 30, lambda: server.err)
        _rewrite(plugin, '"version": 1', '"version": 2')
        eventually(lambda: _version(server, "/extra") == 2, 30, lambda: server.err)
        plugin.unlink()
        eventually(lambda: _status(server, "/extra") == 404, 30, lambda: server.err)
        assert _status(server, "/probe") == 200


def test_reload_reads_the_configuration_again_and_outlives_a_broken_one(folder: Path) -> None:
    config = folder / "caudex.toml"
    with Served("--reload", cwd=folder) as server:
        assert _status(server, "/probe") == 200
        good = config.read_text()
        config.write_text(good + "\n[plugins.probe]\nenabled = false\n")
        eventually(lambda: _status(server, "/probe") == 404, 30, lambda: server.err)

        config.write_text("[server\n")
        eventually(lambda: "caudex: caudex.toml: cannot be read: " in server.err, 20)
        assert server.process.poll() is None
        config.write_text(good.replace("[server]", "[server]\nport = 1", 1))
        eventually(lambda: _status(server, "/probe") == 200, 30, lambda: server.err)
        assert server.end()[0] == 0
        assert "Traceback" not in server.err


def test_reload_applies_a_migration_that_comes(folder: Path, database: str) -> None:
    """Beside a file and within a package; a JSON of a package counts as well."""
    package = folder / "packed"
    (package / "migrations").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from caudex import Plugin\n\n\nclass PackedPlugin(Plugin):\n    name = 'packed'\n"
    )
    steps = folder / "steps"
    steps.mkdir()
    single = "from pathlib import Path\n" + PROBE.replace(
        "stopping = False", "stopping = False\n    migrations = Path(__file__).with_name('steps')"
    )
    for place in (steps, package / "migrations"):
        (place / "0001_start.sql").write_text("select 1")
    config = folder / "caudex.toml"
    config.write_text(f"{config.read_text()}\n[plugins.packed]\nmodule = 'packed'\n")
    with Served("--reload", cwd=folder, env={"PYTHONPATH": str(folder)}) as server:
        _after_restart(server, lambda: (folder / "probe.py").write_text(single))
        for name, place in (("probe", steps), ("packed", package / "migrations")):
            text = f"create table caudex_{name}.a (id int)"
            _after_restart(server, lambda at=place, text=text: (at / "0002_a.sql").write_text(text))
            made = f"select to_regclass('caudex_{name}.a') is not null"
            assert sql(database, made) == [(True,)]
        _after_restart(server, lambda: (package / "words.json").write_text("{}"))


def _after_restart(server: Served, change: Callable[[], object]) -> None:
    """Change something and wait until another process serves."""
    before = _pid(server)
    change()
    eventually(lambda: _pid(server) not in (None, before), 30, lambda: server.err)


def _pid(server: Served) -> int | None:
    try:
        return server.get("/probe").json().get("pid")
    except httpx.TransportError:
        return None


def _allowed(server: Served) -> str | None:
    """The origin that is allowed, where a page of one asks."""
    headers = {"origin": "https://a.example.com"}
    answer = httpx.get(f"{server.url}/probe", headers=headers, timeout=40, verify=NO_TLS)
    return answer.headers.get("access-control-allow-origin")


def _status(server: Served, path: str) -> int | None:
    try:
        return server.get(path).status_code
    except httpx.TransportError:
        return None


def _rewrite(plugin: Path, old: str, new: str) -> None:
    text = plugin.read_text()
    assert old in text
    plugin.write_text(text.replace(old, new))


def _version(server: Served, path: str) -> int | None:
    try:
        return server.get(path).json().get("version")
    except httpx.TransportError:
        return None


# --- what it costs --------------------------------------------------------------------------


def test_a_server_is_small_and_starts_quickly(folder: Path) -> None:
    """The figures to keep are 120 MB and 2 s; a busy machine is slower, not larger."""
    with Served(cwd=folder):
        pass  # migrates
    started = time.monotonic()
    with Served(cwd=folder) as server:
        assert time.monotonic() - started < 30
        reported = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
        assert (
            sum(map(int, reported[11:13])) / os.sysconf("SC_CLK_TCK") < 6
        )  # what others do not slow
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        assert resident < 120
