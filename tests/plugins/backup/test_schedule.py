"""Backups by schedule: one server of all makes them; health and doctor report their age."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from plugins.backup.history import Last, report_ages
from tests.plugins.backup.support import caudex, filled
from tests.waiting import eventually

__all__ = ["caudex"]


@pytest.mark.slow
def test_one_of_two_servers_makes_and_proves_the_backup_that_is_due(make_server, tmp_path):
    folder = tmp_path / "all"
    folder.mkdir()
    config = {"plugins": {"backup": {"folder": str(folder), "keep": 2, "verify_days": 1}}}
    first = make_server(config, data_dir=tmp_path / "one")
    second = make_server(config, data_dir=tmp_path / "one", dsn=first.dsn)
    assert first.admin

    def verified():
        status = second.login("admin").get("/api/v1/status").json()["backup"]
        return status if status["verified"] else None

    status = eventually(verified, 60)
    assert len(list(folder.iterdir())) == 1
    assert "problems" not in status

    def age(days):
        with psycopg.connect(first.dsn) as connection:
            connection.execute(
                "update caudex_backup.last set made_at = now() - make_interval(days => %s)", [days]
            )

    age(3)
    status = second.login("admin").get("/api/v1/status").json()["backup"]
    assert status["problems"] == ["The scheduled backup is late or missing."]
    problems = second.http.get("/health/ready").json()["problems"]
    assert problems == ["backup: The scheduled backup is late or missing."]


@pytest.mark.slow
def test_a_schedule_that_fails_says_why_and_is_no_end_of_the_server(make_server, tmp_path, capsys):
    config = {"plugins": {"backup": {"folder": str(tmp_path / "missing")}}}
    server = make_server(config, data_dir=tmp_path / "one")
    said = list[str]()

    def failed():
        said.append(capsys.readouterr().out)
        return "a scheduled backup failed" in "".join(said)

    eventually(failed, 30)
    assert "missing is no folder" in "".join(said)
    assert server.http.get("/health/ready").status_code == 200


def test_doctor_reports_the_ages():
    week, now = timedelta(days=7), datetime.now(UTC)
    none = report_ages(Last(), week)
    assert none.state == "warn"
    old = report_ages(Last("/x", now - timedelta(days=8)), week)
    assert old.state == "warn"
    assert "8 days old: /x; none was verified yet" in old.text
    proved = report_ages(Last("/x", now - timedelta(hours=3), now - timedelta(days=2), "/y"), week)
    assert proved.state == "ok"
    assert "3 hours old: /x; /y was verified 2 days ago" in proved.text


@pytest.mark.slow
def test_doctor_reads_the_history_of_the_database(make_server, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    caudex(server.dsn, "backup", str(tmp_path / "all"), data_dir=tmp_path / "elsewhere")

    said = caudex(server.dsn, "doctor", data_dir=tmp_path / "one")
    assert f"less than an hour old: {tmp_path / 'all'}; none was verified" in said
