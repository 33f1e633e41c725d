"""Backups over HTTP: made, verified, listed and downloaded by core admins, one run at a time."""

import io
import tarfile

import pytest

from plugins.backup.archive import ABOUT, DUMP, About, pack
from plugins.backup.demand.files import list_backups
from tests.plugins.backup.support import filled
from tests.waiting import eventually

BACKUPS = "/api/v1/backups"
NAME = "caudex-20260131T120000Z.tar"


def run_of(server, run_id):
    [run] = [run for run in server.admin.get(BACKUPS).json()["runs"] if run["id"] == run_id]
    return run


def ended(server, run_id):
    run = run_of(server, run_id)
    return None if run["state"] == "running" else run


def write_backup(folder, name=NAME, keys=()):
    folder.mkdir(exist_ok=True)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    (work / DUMP).write_bytes(b"a dump")
    paths = []
    for key in keys:
        path = work / key
        path.write_bytes(b"k" * 32)
        paths.append(path)
    about = About(caudex="0.2.0", made_at="2026-01-31T12:00:00+00:00", keys=list(keys))
    pack(folder / name, about, work / DUMP, paths)
    return folder / name


@pytest.mark.slow
def test_a_backup_is_made_downloaded_and_verified(make_server, tmp_path):
    server = filled(make_server, tmp_path / "one")
    before = server.admin.get(BACKUPS).json()
    assert (before["scheduled"], before["made_at"], before["files"]) == (False, None, [])
    answer = server.admin.post(BACKUPS)
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["run"]
    run = eventually(lambda: ended(server, run_id), 60)
    assert (run["state"], run["kind"], run["error"]) == ("done", "make", None)

    shown = server.admin.get(BACKUPS).json()
    [file] = shown["files"]
    assert shown["made_at"] is not None
    assert (file["encrypted"], file["verified"]) == (False, False)
    content = server.admin.get(f"{BACKUPS}/{file['name']}")
    assert content.status_code == 200
    assert len(content.content) == file["size"] == int(content.headers["content-length"])
    assert file["name"] in content.headers["content-disposition"]
    with tarfile.open(fileobj=io.BytesIO(content.content)) as tar:
        assert tar.getnames()[:2] == [ABOUT, DUMP]

    answer = server.admin.post(f"{BACKUPS}/{file['name']}/verify")
    run = eventually(lambda: ended(server, answer.json()["run"]), 90)
    assert (run["state"], run["error"]) == ("done", None)
    [file] = server.admin.get(BACKUPS).json()["files"]
    assert file["verified"]
    operations = [
        row["operation"] for row in server.admin.get("/api/v1/audit?entity=backups").json()
    ]
    assert set(operations) == {"BACKUP_STARTED", "BACKUP_VERIFYING", "BACKUP_DOWNLOADED"}


@pytest.mark.slow
def test_a_run_that_fails_says_why(make_server, tmp_path):
    config = {"plugins": {"backup": {"folder": str(tmp_path / "missing")}}}
    server = make_server(config)
    run_id = server.admin.post(BACKUPS).json()["run"]
    run = eventually(lambda: ended(server, run_id), 60)
    assert run["state"] == "failed"
    assert "is no folder" in run["error"]


def test_one_runs_at_a_time_and_a_lost_one_blocks_no_other(make_server, tmp_path):
    server = make_server(data_dir=tmp_path / "one")
    server.sql("insert into caudex_backup.runs (kind) values ('make')")
    answer = server.admin.post(BACKUPS)
    assert (answer.status_code, answer.json()) == (
        400, {"error": "a backup is being made or verified: wait for it"},
    )  # fmt: skip
    server.sql("update caudex_backup.runs set heartbeat = now() - interval '2 minutes'")
    [run] = server.admin.get(BACKUPS).json()["runs"]
    assert run["state"] == "lost"


def test_only_core_admins_may(make_server, tmp_path):
    server = make_server(data_dir=tmp_path / "one")
    write_backup(tmp_path / "one" / "backups")
    user = server.user()
    for client, status in ((user, 403), (server.http, 401)):
        assert client.get(BACKUPS).status_code == status
        assert client.post(BACKUPS).status_code == status
        assert client.get(f"{BACKUPS}/{NAME}").status_code == status
        assert client.post(f"{BACKUPS}/{NAME}/verify").status_code == status
    assert server.admin.get(f"{BACKUPS}/{NAME}").status_code == 200


@pytest.mark.parametrize(
    "name",
    ["other.tar", "caudex-20260131T120000Z.tar.gz", "..", "%2e%2e%2fconfig%2fsigning.key",
     "caudex-20260131T120001Z.tar", "caudex-20260131T120000Z.tar%00", "%2fetc%2fpasswd"],
)  # fmt: skip
def test_no_other_file_is_sent(make_server, tmp_path, name):
    server = make_server(data_dir=tmp_path / "one")
    write_backup(tmp_path / "one" / "backups")
    (tmp_path / "one" / "backups" / "other.tar").write_bytes(b"x")
    assert server.admin.get(f"{BACKUPS}/{name}").status_code == 404
    assert server.admin.post(f"{BACKUPS}/{name}/verify").status_code == 404


def test_a_link_leads_nowhere(make_server, tmp_path):
    server = make_server(data_dir=tmp_path / "one")
    folder = tmp_path / "one" / "backups"
    folder.mkdir()
    (folder / NAME).symlink_to("/etc/passwd")
    assert server.admin.get(f"{BACKUPS}/{NAME}").status_code == 400
    assert server.admin.get(BACKUPS).json()["files"] == []


def test_keys_in_clear_are_not_sent(make_server, tmp_path):
    server = make_server(data_dir=tmp_path / "one")
    folder = tmp_path / "one" / "backups"
    write_backup(folder, keys=["signing.key"])
    answer = server.admin.get(f"{BACKUPS}/{NAME}")
    assert answer.status_code == 403
    assert "keys of the server" in answer.json()["error"]
    (folder / "caudex-20260131T130000Z.tar").write_bytes(b"no backup")
    assert server.admin.get(f"{BACKUPS}/caudex-20260131T130000Z.tar").status_code == 400


def test_downloads_can_be_switched_off(make_server, tmp_path):
    server = make_server({"plugins": {"backup": {"downloads": False}}}, data_dir=tmp_path / "one")
    write_backup(tmp_path / "one" / "backups")
    assert server.admin.get(f"{BACKUPS}/{NAME}").status_code == 403
    assert server.admin.get(BACKUPS).json()["downloads"] is False


def test_the_list_is_of_backups_the_newest_first(tmp_path):
    assert list_backups(tmp_path / "none", None) == []
    names = [f"caudex-2026013{day}T120000Z.tar" for day in (0, 1)]
    for name in (*names, "caudex-20261399T120000Z.tar", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "caudex-20260129T120000Z.tar.enc").mkdir()
    files = list_backups(tmp_path, str(tmp_path / names[0]))
    assert [file.name for file in files] == names[::-1]
    assert [file.verified for file in files] == [False, True]
