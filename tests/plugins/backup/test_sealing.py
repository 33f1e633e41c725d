"""Encrypted backups: nothing in clear, and no file opens that was changed or cut off."""

import io
import secrets

import pytest

from kernel.public import BadRequest
from plugins.backup.archive import DUMP, About, pack, unpack
from plugins.backup.sealing import MARK, opened, read_key, sealed
from tests.plugins.backup.support import caudex, filled, line

__all__ = ["caudex"]

KEY = secrets.token_bytes(32)


def written(tmp_path, key):
    (tmp_path / DUMP).write_bytes(b"precious" * 30_000)
    pack(tmp_path / "file", About(caudex="1", made_at="now"), tmp_path / DUMP, [], key)
    return tmp_path / "file"


def test_what_is_sealed_opens_with_its_key_only(tmp_path):
    file = written(tmp_path, KEY)
    assert b"precious" not in file.read_bytes()
    for name in ("good", "bad", "none"):
        (tmp_path / name).mkdir()
    assert unpack(file, tmp_path / "good", KEY).made_at == "now"
    assert (tmp_path / "good" / DUMP).read_bytes() == b"precious" * 30_000
    with pytest.raises(BadRequest, match="the key is another one"):
        unpack(file, tmp_path / "bad", secrets.token_bytes(32))
    with pytest.raises(BadRequest, match="is encrypted: name its key with --key-file"):
        unpack(file, tmp_path / "none")


def read(content):
    with opened(io.BytesIO(content), KEY) as plain:
        return plain.read(1 << 20)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_file_that_is_cut_off_anywhere_does_not_open(size):
    stream, data = io.BytesIO(), secrets.token_bytes(size)
    with sealed(stream, KEY) as out:
        out.write(data)
    whole = stream.getvalue()
    assert read(whole) == data
    chunk = 65_536 + 17
    for cut in {len(MARK) + 5, len(MARK) + 24, len(MARK) + 24 + chunk, len(whole) - 1}:
        if cut < len(whole):
            with pytest.raises(ValueError, match=r"cut off|damaged"):
                read(whole[:cut])


def test_chunks_that_changed_places_do_not_open():
    stream = io.BytesIO()
    with sealed(stream, KEY) as out:
        out.write(b"a" * 65_536 + b"b" * 65_536 + b"c")
    whole, start, size = stream.getvalue(), len(MARK) + 24, 65_536 + 17
    one, two = whole[start : start + size], whole[start + size : start + 2 * size]
    swapped = whole[:start] + two + one + whole[start + 2 * size :]
    with pytest.raises(ValueError, match="damaged"), opened(io.BytesIO(swapped), KEY) as plain:
        plain.read(10)


def test_a_key_that_others_read_or_that_is_none_is_refused(tmp_path):
    file = tmp_path / "backup.key"
    key = read_key(file, may_create=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_key(file, may_create=True) == key == read_key(file)
    file.chmod(0o644)
    with pytest.raises(BadRequest, match="can be read by other accounts"):
        read_key(file)
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(BadRequest, match="is empty"):
        read_key(file)
    with pytest.raises(FileNotFoundError):
        read_key(tmp_path / "other")


@pytest.mark.slow
def test_a_deployment_encrypts_its_backups_with_a_key_kept_apart(
    make_server, postgres, tmp_path, caudex
):
    server, folder, data = filled(make_server, tmp_path / "one"), tmp_path / "all", tmp_path / "one"
    folder.mkdir()
    env = {"CAUDEX_PLUGINS__BACKUP__KEY_PATH": str(folder / "backup.key")}
    words = ("backup", "--keep", "2", str(folder))
    said = line(caudex(server.dsn, *words, data_dir=data, env=env, status=1))
    assert "keep the key in another place" in said
    env = {"CAUDEX_PLUGINS__BACKUP__KEY_PATH": str(tmp_path / "backup.key")}
    said = caudex(server.dsn, *words, data_dir=data, env=env)
    assert "store a copy apart" in said
    [file] = folder.iterdir()
    assert file.name.endswith(".tar.enc")
    assert "TOKEN" not in file.read_bytes().decode("latin-1")
    said = caudex(server.dsn, "backup", "verify", str(file), data_dir=data, env=env)
    assert "as many as when it was made" in said
    empty = postgres.create()
    said = line(caudex(empty, "restore", str(file), data_dir=tmp_path / "two", status=1))
    assert "is encrypted" in said
    key = ("--key-file", str(tmp_path / "backup.key"))
    caudex(empty, "restore", str(file), *key, data_dir=tmp_path / "two")
    postgres.drop(empty)
