"""The content of files in backups: it comes back, is checked, and what is left out is said."""

import os
import tarfile

import pytest

from kernel.public import STORAGE, BadRequest
from plugins.backup.archive import DUMP, About, pack, unpack
from tests.plugins.backup.support import caudex, filled

__all__ = ["caudex"]


async def pieces(content):
    yield content


def write(server, content):
    storage = server.services.get(STORAGE)
    return server.run(lambda: storage.write_blob(pieces(content), 10_000_000)).sha256


def read(server, sha256):
    async def join():
        reader = await server.services.get(STORAGE).open_blob(sha256)
        return b"".join([piece async for piece in reader])

    return server.run(join)


@pytest.mark.slow
def test_files_come_back_with_their_records(make_server, postgres, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    contents = [os.urandom(size) for size in (0, 10, 3_000_000)]
    hashes = [write(server, content) for content in contents]
    file, key = tmp_path / "all.backup", tmp_path / "keys" / "backup.key"
    key.parent.mkdir()
    words = ("backup", str(file), "--with-keys", "--key-file", str(key))
    said = caudex(server.dsn, *words, data_dir=tmp_path / "one")
    assert f"with 3 files (3.0 MB) of {tmp_path / 'one' / 'files'}" in said
    words = ("backup", "verify", str(file), "--key-file", str(key))
    assert "restores" in caudex(server.dsn, *words, data_dir=tmp_path / "one")

    dsn = postgres.create()
    words = ("restore", str(file), "--key-file", str(key))
    said = caudex(dsn, *words, data_dir=tmp_path / "two")
    assert f"restored 3 files into {tmp_path / 'two' / 'files'}" in said
    again = make_server(dsn=dsn, data_dir=tmp_path / "two")
    assert [read(again, sha256) for sha256 in hashes] == contents
    again.stop()
    postgres.drop(dsn)


@pytest.mark.slow
def test_what_is_left_out_is_said_at_both_ends(make_server, postgres, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    write(server, b"content")
    file = tmp_path / "all.backup"
    words = ("backup", str(file), "--with-keys", "--without-files")
    said = caudex(server.dsn, *words, data_dir=tmp_path / "one")
    assert f"without the files in {tmp_path / 'one' / 'files'}" in said
    with tarfile.open(file) as tar:
        assert not [name for name in tar.getnames() if name.startswith("files/")]
    dsn = postgres.create()
    said = caudex(dsn, "restore", str(file), data_dir=tmp_path / "two")
    assert "holds no files" in said
    postgres.drop(dsn)


@pytest.mark.slow
def test_a_store_that_is_no_folder_is_named(make_server, tmp_path, caudex):
    server = filled(make_server, tmp_path / "one")
    env = {
        "CAUDEX_SERVICES__STORAGE": "storage_s3",
        "CAUDEX_PLUGINS__STORAGE_S3__BUCKET": "elsewhere",
    }
    words = ("backup", str(tmp_path / "all.backup"))
    said = caudex(server.dsn, *words, data_dir=tmp_path / "one", env=env)
    assert "without the files in s3://elsewhere" in said


@pytest.fixture
def packed(tmp_path):
    """Write a backup with one file under a name."""

    def write_backup(name, content):
        (tmp_path / "dump").write_bytes(b"dump")
        (tmp_path / "content").write_bytes(content)
        file = tmp_path / "a.backup"
        about = About(caudex="1", made_at="2026-01-01")
        pack(file, about, tmp_path / "dump", [], None, [(name, tmp_path / "content")])
        return file

    return write_backup


@pytest.mark.parametrize("name", ["0" * 64, "../evil", "a/b", ".hidden"])
def test_a_file_that_is_not_what_its_name_says_is_refused(name, packed, tmp_path):
    file = packed(name, b"content")
    (tmp_path / "out").mkdir()
    with pytest.raises(BadRequest, match="is no backup"):
        unpack(file, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"about.json", DUMP}


def test_a_file_that_was_deleted_meanwhile_is_left_out(tmp_path):
    (tmp_path / "dump").write_bytes(b"dump")
    file = tmp_path / "a.backup"
    gone = [("0" * 64, tmp_path / "gone")]
    pack(file, About(caudex="1", made_at="2026-01-01"), tmp_path / "dump", [], None, gone)
    (tmp_path / "out").mkdir()
    assert unpack(file, tmp_path / "out").made_at == "2026-01-01"
