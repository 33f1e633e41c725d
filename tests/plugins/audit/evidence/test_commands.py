"""`caudex audit` as an operator and an auditor run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernel.testing import MakeServer, Server
from tests.kernel.here import caudex_here
from tests.kernel.processes import Ended
from tests.plugins.audit.evidence.support import seal, seals, tamper
from tests.plugins.backup.support import MANIFEST

NOTES = "/api/v1/apps/crm/collections/notes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Server:
    server = make_server(data_dir=tmp_path / "data")
    server.install(MANIFEST)
    for number in range(5):
        server.admin.post(NOTES, json={"body": f"note {number}"}).raise_for_status()
    seal(server)
    return server


def run(server: Server, folder: Path, *words: str, status: int = 0) -> str:
    ended = caudex_here(
        "audit", *words, "--data-dir", str(server.kernel.config.server.data_dir),
        cwd=folder, env=environment(folder, server.dsn),
    )  # fmt: skip
    return output_of(ended, status)


def check(folder: Path, *words: str, status: int = 0) -> str:
    """As an auditor does: without configuration, database and data folder."""
    ended = caudex_here("audit", "check", *words, cwd=folder, env=environment(folder))
    return output_of(ended, status)


def output_of(ended: Ended, status: int) -> str:
    assert ended.status == status, ended.out + ended.err
    assert "Traceback" not in ended.err
    return ended.out if status == 0 else ended.out + ended.err


def environment(home: Path, dsn: str = "") -> dict[str, str]:
    here = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home)}
    if dsn:
        here["CAUDEX_DATABASE__URL"] = dsn
    return here


def test_a_trail_is_verified_and_a_change_is_named(server: Server, tmp_path: Path) -> None:
    key = seals(server)[-1].key
    text = run(server, tmp_path, "verify")
    assert "verified up to 20" in text
    assert f"key {key}" in text
    report = json.loads(run(server, tmp_path, "verify", "--json"))
    assert report["ok"] is True
    assert "verified up to" in run(server, tmp_path, "verify", "--since", "2026-01-01")
    [(row_id,)] = server.sql("select id from caudex_audit.log order by id desc limit 1")
    tamper(server, f"delete from caudex_audit.log where id = {row_id}")
    text = run(server, tmp_path, "verify", status=1)
    assert text.startswith(f"row {row_id} of 20")
    assert "was removed after it was sealed" in text


def test_an_auditor_needs_the_file_and_the_key_only(
    server: Server, tmp_path: Path, folder: Path
) -> None:
    key = seals(server)[-1].key
    run(server, tmp_path, "export", "trail.ndjson")
    run(server, tmp_path, "export", "crm.ndjson", "--app", "crm", "--since", "2026-01-01")
    [(row_id,)] = server.sql("select max(id) from caudex_audit.log")
    (tmp_path / "proof.json").write_text(run(server, tmp_path, "prove", str(row_id)))
    for name in ("trail.ndjson", "crm.ndjson", "proof.json"):
        content = (tmp_path / name).read_text()
        (folder / name).write_text(content)
        assert "are as they were sealed" in check(folder, name, "--key", key)
        (folder / name).write_text(content.replace("note 4", "note 9"))
        assert "not proven" in check(folder, name, "--key", key, status=1)
    assert "no row between the first and the last is missing" in check(
        tmp_path, "trail.ndjson", "--key", key.upper()
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "crm.ndjson", "proof.json", "trail.ndjson",
    ]  # fmt: skip


def test_mistakes_are_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("{}")
    assert "cannot be written: File exists" in run(server, tmp_path, "export", "there", status=1)
    assert "timestamp" in run(server, tmp_path, "verify", "--since", "soon", status=1)
    assert "64 hexadecimal digits" in run(server, tmp_path, "verify", "--key", "x", status=1)
    assert "the trail has no row 9999" in run(server, tmp_path, "prove", "9999", status=1)
    assert "neither an export" in check(tmp_path, "there", "--key", "0" * 64, status=1)
    assert "cannot be read" in check(tmp_path, "missing", "--key", "0" * 64, status=1)
    assert "there cannot be read" in run(server, tmp_path, "verify", "--witness", "there", status=1)


def test_the_file_of_a_witness_is_compared(server: Server, tmp_path: Path) -> None:
    rows = server.sql(
        "select json_build_object('statement', statement, 'signature', encode(signature, 'hex'))"
        " from caudex_audit.seals order by number"
    )
    file = tmp_path / "seals.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for (row,) in rows))
    assert "verified up to" in run(server, tmp_path, "verify", "--witness", str(file))
    last = len(rows)
    tamper(server, f"delete from caudex_audit.seals where number = {last}")
    text = run(server, tmp_path, "verify", "--witness", str(file), status=1)
    assert text.startswith(f"seal {last} ")


def test_doctor_knows_the_key_and_the_sealing(server: Server, tmp_path: Path) -> None:
    words = ("doctor", "--data-dir", str(server.kernel.config.server.data_dir))
    ended = caudex_here(*words, cwd=tmp_path, env=environment(tmp_path, server.dsn))
    assert "sealed up to the last hour" in ended.out
    server.sql(
        "insert into caudex_audit.log (table_schema, table_name, operation, changed_at)"
        " values ('crm', 'notes', 'INSERT', now() - interval '5 hours')"
    )
    ended = caudex_here(*words, cwd=tmp_path, env=environment(tmp_path, server.dsn))
    assert "a row of 5 hours ago is not sealed" in ended.out
    Path(server.kernel.config.server.data_dir, "config/evidence.key").unlink()
    ended = caudex_here(*words, cwd=tmp_path, env=environment(tmp_path, server.dsn))
    assert "key evidence" in ended.out
    assert ended.status == 1


@pytest.mark.slow
def test_a_restore_goes_on_with_the_chain_of_the_backup(
    server: Server, make_server: MakeServer, postgres, tmp_path: Path
) -> None:
    data = str(server.kernel.config.server.data_dir)
    env = environment(tmp_path, server.dsn)
    words = ("backup", "all.backup", "--with-keys", "--no-verify", "--data-dir", data)
    output_of(caudex_here(*words, cwd=tmp_path, env=env), 0)
    server.admin.post(NOTES, json={"body": "after the backup"}).raise_for_status()
    seal(server)
    rows = server.sql(
        "select json_build_object('statement', statement, 'signature', encode(signature, 'hex'))"
        " from caudex_audit.seals order by number"
    )
    witnessed = tmp_path / "seals.ndjson"
    witnessed.write_text("".join(json.dumps(row) + "\n" for (row,) in rows))

    dsn = postgres.create()
    words = ("restore", "all.backup", "--data-dir", str(tmp_path / "two"))
    output_of(caudex_here(*words, cwd=tmp_path, env=environment(tmp_path, dsn)), 0)
    restored = make_server(dsn=dsn, data_dir=tmp_path / "two")
    assert "verified up to" in run(restored, tmp_path, "verify")
    admin = restored.login("admin")
    admin.post(NOTES, json={"body": "after the restore"}).raise_for_status()
    seal(restored)
    text = run(restored, tmp_path, "verify")
    assert "0 rows are not sealed yet" in text
    text = run(restored, tmp_path, "verify", "--witness", str(witnessed), status=1)
    assert text.startswith(f"seal {len(rows)} ")
    restored.stop()
    postgres.drop(dsn)
