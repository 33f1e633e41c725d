"""Keys: made once, for the owner alone, and the same for every server of a database."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from kernel.config.settings import load_config
from kernel.contracts.statements import Statements
from kernel.errors import BootError
from kernel.toolkit.secrets.keys import Keyring, server_key
from tests.kernel.databases import opened, sql
from tests.kernel.processes import open_folder
from tests.kernel.support import shut

KEY = bytes(range(32))


def load_key(name: str, configured: str, folder: Path) -> bytes:
    return Keyring(name, folder, configured).read(may_create=True).sealing


def refusal(configured: str, folder: Path) -> str:
    with pytest.raises(BootError) as caught:
        load_key("signing", configured, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    key = load_key("signing", "", tmp_path)
    file = tmp_path / "config" / "signing.key"
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert load_key("signing", "", tmp_path) == key
    assert load_key("master", "", tmp_path) != key
    assert sorted(path.name for path in file.parent.iterdir()) == ["master.key", "signing.key"]


def test_a_key_of_another_account_is_not_taken_for_a_missing_one() -> None:
    """A message that asks for another folder would lead to a second key."""
    with open_folder() as data:
        load_key("signing", "", data)
        file = data / "config" / "signing.key"
        for path in (file, file.parent, data):
            with shut(path):
                assert refusal("", data) == (
                    f"key signing: {file} cannot be read: Permission denied; "
                    "run as the account that made it, or restore it"
                )


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610])
def test_a_key_that_other_accounts_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    key = load_key("signing", "", tmp_path)
    file = tmp_path / "config" / "signing.key"
    file.chmod(mode)
    assert refusal("", tmp_path) == (
        f"key signing: {file} can be read by other accounts (mode {mode:04o}); chmod 600 {file}"
    )
    for narrow in (0o600, 0o400):
        file.chmod(narrow)
        assert load_key("signing", "", tmp_path) == key


def test_a_wide_umask_makes_no_difference(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_key("signing", "", tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "config" / "signing.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(),
        base64.b64encode(KEY).decode().rstrip("="),
    ],
)  # fmt: skip
def test_a_configured_key_is_hex_or_base64(tmp_path: Path, text: str) -> None:
    assert load_key("signing", text, tmp_path) == KEY
    assert not (tmp_path / "config").exists()


def test_a_longer_key_is_taken_too_and_every_key_has_32_bytes(tmp_path: Path) -> None:
    long = load_key("signing", base64.b64encode(KEY * 2).decode(), tmp_path)
    phrase = load_key("signing", "a sentence, long enough, that is no base64 at all!", tmp_path)
    assert len(long) == len(phrase) == 32
    assert long not in (KEY, phrase)


@pytest.mark.parametrize("text", ["short", KEY[:31].hex(), base64.b64encode(KEY[:16]).decode()])
def test_a_key_that_is_too_short_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    said = refusal(text, tmp_path)
    assert "32 are needed" in said
    assert "openssl rand -base64 32" in said
    assert text not in said


def test_a_key_comes_from_the_environment_or_a_file_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(KEY.hex() + "\n")
    for name, value in (("", KEY.hex()), ("_FILE", str(file))):
        config = load_config(environ={f"CAUDEX_PLUGINS__VAULT__MASTER_KEY{name}": value})
        configured = config.plugins["vault"]["master_key"]
        assert load_key("master", str(configured), tmp_path) == KEY


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"abc"])
def test_a_damaged_key_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config" / "signing.key"
    file.parent.mkdir()
    file.write_bytes(content)
    assert "key signing" in refusal("", tmp_path)
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_reported_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("in the way")
    said = refusal("", tmp_path)
    assert said.startswith("data directory: ")
    assert "--data-dir" in said


MAKE = """
import sys
from pathlib import Path
from kernel.toolkit.secrets.keys import Keyring
sys.stdin.readline()
print(Keyring("signing", Path(sys.argv[1])).read(may_create=True).sealing.hex())
"""


@pytest.mark.slow
def test_two_processes_at_once_agree_on_the_key(tmp_path: Path) -> None:
    for round_ in range(3):
        folder = tmp_path / str(round_)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", MAKE, str(folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        keys = [process.communicate()[0].strip() for process in processes]
        assert set(keys) == {load_key("signing", "", folder).hex()}
        assert [path.name for path in (folder / "config").iterdir()] == ["signing.key"]


async def test_the_first_server_fixes_the_key_and_another_key_does_not_start(
    database: str, tmp_path: Path
) -> None:
    async with opened(database) as db:
        for _ in range(2):
            await server_key(db, "signing", KEY.hex(), tmp_path)
        await server_key(db, "master", KEY[::-1].hex(), tmp_path)
        with pytest.raises(BootError) as caught:
            await server_key(db, "signing", (KEY[:31] + b"\0").hex(), tmp_path)
    said = str(caught.value)
    assert said.startswith("key signing: it is not the key that this database was set up with")
    assert "configure that one" in said
    assert "\n" not in said
    kept = sql(database, "select name, fingerprint from caudex_kernel.keys order by name")
    assert [name for name, _ in kept] == ["master", "signing"]
    assert KEY.hex()[:16] not in str(kept)


async def test_a_key_that_was_lost_is_not_made_again(database: str, tmp_path: Path) -> None:
    """A new one beside the old database would be in the way of the right one."""
    file = tmp_path / "config" / "signing.key"
    async with opened(database) as db:
        key = await server_key(db, "signing", "", tmp_path)
        assert await server_key(db, "signing", "", tmp_path) == key
        file.unlink()
        with pytest.raises(BootError) as caught:
            await server_key(db, "signing", "", tmp_path)
        assert str(caught.value) == (
            f"key signing: {file} is missing, and this database was set up with it; "
            "restore the file"
        )
        assert list(file.parent.iterdir()) == []
        file.write_text(KEY.hex())
        file.chmod(0o600)
        with pytest.raises(BootError, match=f"set up with; put that one into {file}$"):
            await server_key(db, "signing", "", tmp_path)
        with pytest.raises(BootError, match=r"set up with; configure that one$"):
            await server_key(db, "signing", KEY.hex(), tmp_path)
        assert await server_key(db, "signing", key.hex(), tmp_path) == key


async def test_of_two_first_servers_with_different_keys_one_starts(
    database: str, tmp_path: Path
) -> None:
    refused: list[BootError] = []

    async def start(db: Statements, key: bytes) -> None:
        try:
            await server_key(db, "signing", key.hex(), tmp_path)
        except BootError as error:
            refused.append(error)

    async with opened(database) as one, opened(database) as two:
        for round_ in range(20):
            sql(database, "delete from caudex_kernel.keys")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start, one, KEY)
                tasks.start_soon(start, two, KEY[::-1])
            assert len(refused) == round_ + 1
