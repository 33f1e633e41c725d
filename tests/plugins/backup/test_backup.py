"""Backup and restore by the command line, beside a running server and into an empty database."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from kernel.public import BadRequest
from plugins.backup.archive import unpack
from plugins.backup.history import remark, remember

MANIFEST = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [{"entityName": "notes", "fields": [{"name": "body", "type": "text"}]}],
}


@pytest.fixture
def caudex(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(dsn, *words, data_dir, status=0):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CAUDEX_DATABASE__URL": dsn}
        root = str(Path(__file__).parents[3])
        ended = subprocess.run(
            [sys.executable, "-m", "kernel", *words, "--data-dir", str(data_dir)],
            env={**environment, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout + ended.stderr

    return run


def filled(make_server, data_dir):
    server = make_server(data_dir=data_dir)
    server.admin.post("/api/v1/apps", json=MANIFEST).raise_for_status()
    path = "/api/v1/apps/crm/collections/notes"
    for number in range(20):
        server.admin.post(path, json={"body": f"note {number}"}).raise_for_status()
    secret = {"key": "TOKEN", "value": "x"}
    server.admin.post("/api/v1/apps/crm/secrets", json=secret).raise_for_status()
    return server


def test_what_was_there_comes_back_on_another_database(make_server, postgres, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    said = caudex(server.dsn, "backup", str(file), "--with-keys", data_dir=tmp_path / "one")
    assert "wrote" in said
    assert file.stat().st_mode & 0o777 == 0o600

    dsn = postgres.create()
    said = caudex(dsn, "restore", str(file), data_dir=tmp_path / "two")
    assert "master.key restored" in said
    for key in ("master.key", "signing.key"):
        place = tmp_path / "two" / "config" / key
        assert place.read_bytes() == (tmp_path / "one" / "config" / key).read_bytes()
        assert place.stat().st_mode & 0o777 == 0o600

    again = make_server(dsn=dsn, data_dir=tmp_path / "two")
    admin = again.login("admin")
    notes = admin.get("/api/v1/apps/crm/collections/notes").json()
    before = server.admin.get("/api/v1/apps/crm/collections/notes").json()
    assert notes == before
    assert admin.get("/api/v1/apps/crm/secrets").json() == ["TOKEN"]
    verify = admin.post("/api/v1/apps/schema/verify", json=MANIFEST).json()
    assert verify == {"compliant": True, "changes": []}
    made = admin.post("/api/v1/apps/crm/collections/notes", json={"body": "new"})
    assert made.status_code == 201
    audit = admin.get("/api/v1/audit", params={"app_id": "crm"}).json()
    assert len(audit) == 21
    again.stop()
    postgres.drop(dsn)


def test_an_existing_file_is_not_replaced_by_chance(make_server, tmp_path, caudex):
    server = make_server(data_dir=tmp_path / "one")
    file = tmp_path / "all.backup"
    file.write_text("precious")
    said = caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one", status=1)
    assert "--force" in said
    assert file.read_text() == "precious"
    caudex(server.dsn, "backup", str(file), "--force", data_dir=tmp_path / "one")
    assert tarfile.is_tarfile(file)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["all.backup"]


def test_a_database_that_is_used_or_not_empty_is_refused(make_server, postgres, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    file = tmp_path / "all.backup"
    caudex(server.dsn, "backup", str(file), data_dir=tmp_path / "one")
    said = caudex(server.dsn, "restore", str(file), data_dir=tmp_path / "one", status=1)
    assert "stop it first" in said
    dsn = postgres.create()
    caudex(dsn, "restore", str(file), data_dir=tmp_path / "two")
    said = caudex(dsn, "restore", str(file), data_dir=tmp_path / "two", status=1)
    assert "not empty" in said
    assert "--replace" in said
    said = caudex(dsn, "restore", str(file), "--replace", data_dir=tmp_path / "two")
    assert "holds no keys" in said
    postgres.drop(dsn)


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240])
def test_what_is_no_backup_is_refused(tmp_path, content):
    file = tmp_path / "odd"
    file.write_bytes(content)
    with pytest.raises(BadRequest, match="is no backup"):
        unpack(file, tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/evil", "keys/../evil", "keys/a/b", ".hidden"])
def test_a_hostile_backup_writes_nothing_outside(tmp_path, name):
    file, folder = tmp_path / "evil.tar", tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(file, "w") as tar:
        member = tarfile.TarInfo(name)
        tar.addfile(member)
    with pytest.raises(BadRequest):
        unpack(file, folder)
    assert list(folder.rglob("*")) == []
    assert not (tmp_path / "evil").exists()


def test_a_link_in_a_backup_is_refused(tmp_path):
    file, folder = tmp_path / "evil.tar", tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(file, "w") as tar:
        member = tarfile.TarInfo("database.dump")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(BadRequest):
        unpack(file, folder)


def test_doctor_tells_the_age_of_the_last_backup(tmp_path):
    assert not remark(tmp_path).good
    remember(tmp_path, Path("/backups/x"), "2020-01-01T00:00:00+00:00")
    assert not remark(tmp_path).good
    assert "/backups/x" in remark(tmp_path).text
    (tmp_path / "last-backup.json").write_text("{")
    assert "not readable" in remark(tmp_path).text
