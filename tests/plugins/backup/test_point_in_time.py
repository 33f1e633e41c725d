"""`caudex restore --at TIME`: the embedded cluster, records and accounts as they were."""

import signal
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.kernel.processes import Served, caudex, open_folder, write_config
from tests.plugins.backup.support import MANIFEST
from tests.waiting import eventually

PASSWORD = "Str0ngPass!x"
NOTES = "/api/v1/apps/crm/collections/notes"


@contextmanager
def signed_in(url):
    with httpx.Client(base_url=url, timeout=30) as client:
        body = {"username": "admin", "password": PASSWORD}
        client.post("/api/v1/auth/register", json=body)
        tokens = client.post("/api/v1/auth/login", json=body).raise_for_status().json()
        client.headers["authorization"] = f"Bearer {tokens['accessToken']}"
        yield client


def bodies(client):
    return sorted(note["body"] for note in client.get(NOTES).raise_for_status().json())


FEED = f"{NOTES}/feed"


def read_position(client):
    """The position of now."""
    answer = client.get(f"{NOTES}?limit=1", headers={"prefer": "position"})
    return answer.raise_for_status().headers["caudex-event"]


def read_first_event(client, position):
    """The name and the data of the first event behind a position."""
    with client.stream("GET", FEED, params={"since": position}) as answer:
        lines = iter(answer.iter_lines())
        name = next(line for line in lines if line.startswith("event: "))
        data = next(line for line in lines if line.startswith("data: "))
    return name.removeprefix("event: "), data.removeprefix("data: ")


def moment():
    time.sleep(0.2)
    at = datetime.now(UTC).isoformat()
    time.sleep(0.2)
    return at


@pytest.mark.slow
def test_records_come_back_as_they_were_before_a_mistake_a_kill_and_damage():
    with open_folder() as folder:
        archive, here = folder / "archive", ("--data-dir", str(folder / "data"))
        tables = {
            "plugins.postgres": {"port": 0, "archive": str(archive)},
            "plugins.workers": {"enabled": False},
        }
        write_config(folder, tables)
        with Served(*here, cwd=folder) as server, signed_in(server.url) as client:
            client.post("/api/v1/apps", json=MANIFEST).raise_for_status()
            eventually(lambda: list(archive.glob("*/base/*Z")), 60)
            for body in ("one", "two"):
                client.post(NOTES, json={"body": body}).raise_for_status()
            at = moment()
            later = moment()
            for note in client.get(NOTES).json():
                client.delete(f"{NOTES}/{note['id']}").raise_for_status()
            client.post(NOTES, json={"body": "after"}).raise_for_status()
            position = read_position(client)
            running = caudex("restore", "--at", at, *here, cwd=folder)
            assert "in use by another Caudex server" in running.refusal
            reported = caudex("doctor", *here, cwd=folder).out
            assert "archive: any time since" in reported
            server.end(signal.SIGKILL)

        early = datetime.now(UTC) - timedelta(days=3)
        assert "no base backup before" in caudex(
            "restore", "--at", early.isoformat(), *here, cwd=folder
        ).refusal  # fmt: skip
        (folder / "data" / "postgres" / "global" / "pg_control").write_bytes(b"lost")
        assert "is damaged" in caudex("serve", *here, "--port", "0", cwd=folder).refusal
        done = caudex("restore", "--at", at, *here, cwd=folder)
        assert done.status == 0, done.err
        assert "its last transaction is of" in done.out
        assert "postgres.before-" in done.out
        left = caudex("restore", "--at", later, *here, cwd=folder).refusal
        assert "is on a branch that was left (timeline 1 from " in left
        with Served(*here, cwd=folder) as server, signed_in(server.url) as client:
            assert bodies(client) == ["one", "two"]
            assert read_first_event(client, position) == ("resync", '{"reason":"restored"}')
            client.post(NOTES, json={"body": "three"}).raise_for_status()
            assert bodies(client) == ["one", "three", "two"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a file, or a time"),
        (["x.tar", "--at", "2026-01-01T00:00:00Z"], "name a file, or a time"),
        (["--at", "yesterday"], "is no time: write 2026-01-31T12:00:00Z"),
        (["--at", "2026-01-01T00:00:00"], "has no time zone"),
        (["--at", "2999-01-01T00:00:00Z"], "is not over yet"),
        (["--at", "2026-01-01T00:00:00Z"], "there is no embedded database"),
    ],
)
def test_a_time_that_cannot_be_meant_is_refused(caudex_here, words, said):
    assert said in caudex_here("restore", *words)


@pytest.fixture
def caudex_here(database, tmp_path):
    def run(*words):
        ended = caudex(*words, cwd=tmp_path, env={"CAUDEX_DATABASE__URL": database})
        assert ended.status in (1, 78), ended.out + ended.err
        return ended.err

    return run
