"""TERM under load: nothing acknowledged is lost, and the end comes in time, with status 0."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from kernel.testing import Client
from tests.faults import slow, stuck
from tests.faults.support import ROUNDS, Load, Site, User, no_traceback, notes, pause
from tests.kernel.processes import Served, alive, descendants
from tests.waiting import eventually

pytestmark = pytest.mark.slow

TERM, INT = signal.SIGTERM, signal.SIGINT
TWO = ["--workers", "2"]


class Follower(threading.Thread):
    """Follows the log of an app and notes how the stream ended."""

    def __init__(self, user: User, app_id: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{user.base_url}/api/v1/apps/{app_id}/logs".replace("//api", "/api")
        self._headers = dict(user.headers)
        self.began = threading.Event()
        self.lines: list[str] = []
        self.ended = ""

    def run(self) -> None:
        """Read until the stream ends."""
        try:
            with httpx.stream("GET", self._url, headers=self._headers, timeout=60) as answer:
                assert answer.status_code == 200
                for line in answer.iter_lines():
                    self.lines.append(line)
                    self.began.set()
            self.ended = "whole"
        except httpx.HTTPError as error:
            self.ended = type(error).__name__


@contextmanager
def following(user: User, app_id: str, count: int = 5) -> Generator[list[Follower]]:
    """Clients with an open stream of events."""
    followers = [Follower(user, app_id) for _ in range(count)]
    for follower in followers:
        follower.start()
    for follower in followers:
        assert follower.began.wait(30), "the stream did not begin"
    yield followers
    for follower in followers:
        follower.join(5)
        assert not follower.is_alive()


@pytest.mark.parametrize(
    ("words", "number"), [([], TERM), ([], INT), (TWO, TERM)], ids=["TERM", "INT", "two processes"]
)
def test_a_server_that_is_asked_to_end_loses_nothing(
    site: Site, words: list[str], number: int
) -> None:
    for _ in range(ROUNDS):
        with site.serve(*words) as server:
            all_listen(site, words)
            user = site.user(server)
            app = user.install()
            everywhere(user, app, words)
            with following(user, app) as followers, Load(user, app, readers=2) as load:
                load.more()
                pause(0, 0.2)
                below = descendants(server.process.pid)
                status, seconds = server.end(number)
                assert status == 0
                assert seconds < 10, "streams and idle connections were waited for"
                # multiprocessing's own helper, which `--workers` brings, goes after its parent.
                eventually(lambda below=below: not alive(below), 10, "a process was left over")
            assert {follower.ended for follower in followers} == {"whole"}
        no_traceback(server)
        with site.serve() as server:
            load.check(site.sql)
            server.end()


def all_listen(site: Site, words: list[str]) -> None:
    """Wait for every process: the banner appears when the first one is ready."""
    count = 2 if words else 1
    eventually(lambda: site.listeners == count, 20, "a process has not started")


def everywhere(user: User, app_id: str, words: list[str]) -> None:
    """Wait until every process has heard of an app: it was installed at one of them."""

    def status() -> int:
        with Client(base_url=user.base_url, headers=user.headers, timeout=40) as client:
            return client.get(notes(app_id)).status_code

    # With as many connections of their own, all but never to the same process.
    count = 16 if words else 1
    eventually(lambda: {status() for _ in range(count)} == {200}, 20, "not known everywhere")


def test_a_server_ends_with_its_own_database(make_site: Callable[..., Site]) -> None:
    site = make_site("")
    with site.serve() as server:
        user = site.user(server)
        app = user.install()
        with following(user, app) as followers, Load(user, app) as load:
            load.more()
            below = descendants(server.process.pid)
            assert len(below) > 3
            status, seconds = server.end()
            assert (status, alive(below)) == (0, set())
            assert seconds < 15
        assert {follower.ended for follower in followers} == {"whole"}
    no_traceback(server)
    with site.serve():
        load.check(site.sql)


def test_requests_that_run_are_answered_before_the_end(site: Site) -> None:
    with site.serve("--plugin", slow.__file__) as server:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(server.get("/slow/held")))
        asking.start()
        eventually(lambda: busy(server), 10, "the request has not begun")
        server.process.send_signal(TERM)
        eventually(lambda: refuses(server), 10, "it does not end")
        time.sleep(1)
        assert server.process.poll() is None
        assert not answers
        (site.folder / slow.FREED).touch()
        asking.join(10)
        assert answers[0].status_code == 200
        assert server.process.wait(10) == 0
        with pytest.raises(httpx.ConnectError):
            server.get("/health")


@pytest.mark.parametrize("words", [[], TWO], ids=["one process", "two processes"])
def test_nothing_is_accepted_while_the_last_requests_are_answered(
    site: Site, words: list[str]
) -> None:
    with site.serve("--plugin", slow.__file__, *words) as server:
        all_listen(site, words)
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(server.get("/slow/held")))
        asking.start()
        eventually(lambda: busy(server), 10, "the request has not begun")
        server.process.send_signal(TERM)
        eventually(lambda: refuses(server), 10, "it still accepts connections")
        assert not answers
        (site.folder / slow.FREED).touch()
        asking.join(10)
        assert answers[0].status_code == 200
        assert server.process.wait(10) == 0


def refuses(server: Served) -> bool:
    """Whether the system says that no one listens."""
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=2):
            return False
    except ConnectionRefusedError:
        return True


def busy(server: Served, count: int = 1) -> bool:
    """Whether that many slow requests are being served by the process that answers."""
    return server.get("/slow").json()["waiting"] >= count


@pytest.mark.parametrize(
    ("words", "numbers"),
    [([], (TERM, TERM)), ([], (INT, TERM)), (TWO, (TERM, INT))],
    ids=["TERM TERM", "INT TERM", "two processes"],
)
def test_a_second_signal_ends_it_without_the_drain(
    site: Site, words: list[str], numbers: tuple[int, int]
) -> None:
    with site.serve("--plugin", slow.__file__, *words) as server:
        all_listen(site, words)
        user = site.user(server)
        app = user.install()
        everywhere(user, app, words)
        with Load(user, app) as load:
            load.more(5)
            reported: list[str] = []
            clients = [
                threading.Thread(target=_ask_slowly, args=(server, method, reported))
                for method in ("GET", "POST") * 2
            ]
            for one in clients:
                one.start()
            count = 1 if words else 4
            eventually(lambda: busy(server, count), 10, "the requests have not begun")
            below = descendants(server.process.pid)
            server.process.send_signal(numbers[0])
            time.sleep(0.5)  # the drain is under way, and the slow requests hold it
            assert server.process.poll() is None
            status, seconds = server.end(numbers[1])
            # Two are allowed, and a busy machine makes more of it; the drain alone is twenty.
            assert seconds < 6
            assert status in (0, 1)
            eventually(lambda: not alive(below), 10, lambda: f"left over: {alive(below)}")
        for one in clients:
            one.join(5)
        # A client that is cut off knows that nothing was acknowledged. No other reply is possible.
        assert len(reported) == 4
        assert not [one for one in reported if one not in (*STOPPING.values(), *CUT_OFF)]
    no_traceback(server)
    with site.serve():
        load.check(site.sql)


STOPPING = {
    "GET": '503 1 {"error":"the server is stopping"}',
    "POST": '503 None {"error":"the server is stopping: the change may have been made; '
    'look before you repeat it"}',
}
"""Status, Retry-After and body of a request that outlasts the end."""
CUT_OFF = ("ConnectError", "ReadError", "RemoteProtocolError")


def _ask_slowly(server: Served, method: str, reported: list[str]) -> None:
    try:
        answer = httpx.request(method, f"{server.url}/slow/25", timeout=30)
    except httpx.HTTPError as error:
        reported.append(type(error).__name__)
    else:
        again = answer.headers.get("retry-after")
        said = f"{answer.status_code} {again} {answer.text}"
        reported.append(said if said == STOPPING[method] else f"{method}: {said}")


STUCK = {"awaited/c": 0, "left/python": 0, "executor/wait": 0, "loop/python": 1}
"""How a thread never returns, or the event loop, and the status of a process that ends anyway."""


@pytest.mark.parametrize("kind", STUCK)
def test_no_thread_keeps_a_server_from_ending(site: Site, kind: str) -> None:
    with site.serve("--plugin", stuck.__file__) as server, asked(server, kind):
        status, seconds = server.end()
        assert (status, seconds < 35) == (STUCK[kind], True)  # thirty, and a busy machine
        assert "the process ends without what still runs" in server.err
        assert f"at {stuck.__file__}" in server.err or kind.endswith("wait")


@pytest.mark.parametrize("kind", STUCK)
def test_a_second_signal_ends_a_server_whatever_its_threads_do(site: Site, kind: str) -> None:
    with site.serve("--plugin", stuck.__file__) as server, asked(server, kind):
        server.process.send_signal(TERM)
        time.sleep(0.5)
        if server.process.poll() is None:
            _, seconds = server.end()
            assert seconds < 6


@contextmanager
def asked(server: Served, kind: str) -> Generator[None]:
    """A server that has started a thread which never returns, or is blocked by one."""
    asking = threading.Thread(target=_ask, args=(f"{server.url}/stuck/{kind}",), daemon=True)
    asking.start()
    eventually(lambda: "it is stuck" in server.err, 20, lambda: server.err)
    yield
    asking.join(5)


def _ask(url: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.get(url, timeout=60)
