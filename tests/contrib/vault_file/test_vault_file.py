"""What files are good for and what they must survive: places, crashes, keys, other folders."""

import base64
import os
import shutil
import stat
import uuid
from contextlib import asynccontextmanager

import pytest

from contrib.vault_file.files import Folder
from contrib.vault_file.sealing import MAX_FILE, key_id, open_file, seal_file
from kernel.config.settings import load_config
from kernel.loading.loader import load
from kernel.public import (
    MAX_SECRETS,
    VAULT,
    BadRequest,
    BootError,
    Unavailable,
    Unopenable,
    server_actor,
    write_file,
)
from kernel.testing import running_server

ACTOR = server_actor("test")
CHOSEN = {"services": {"vault": "vault_file"}, "plugins": {"vault_file": {}}}


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, CHOSEN) as running:
        yield running


@pytest.fixture
def app(server):
    return install(server, f"files{uuid.uuid4().hex[:8]}")


def install(server, app_id):
    manifest = {"appId": app_id, "name": app_id}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    return app_id


def vault(server, ask):
    return server.run(lambda: ask(server.services.get(VAULT)))


def put(server, app_id, key, value):
    vault(server, lambda engine: engine.set(ACTOR, app_id, key, value))


def reveal(server, app_id):
    return vault(server, lambda engine: engine.reveal(app_id))


def root(server):
    return server.kernel.config.data_dir / "secrets"


def file_of(server, app_id, key):
    folder = root(server) / ("platform" if app_id is None else f"apps/{app_id}")
    [found] = folder.glob(f"{key}-*.secret")
    return found


def configured(**table):
    return {**CHOSEN, "plugins": {"vault_file": table}}


# Files


def test_files_and_folders_are_the_owners_only(server, app):
    put(server, app, "MODE", "x")
    path = file_of(server, app, "MODE")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, root(server)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_opens_in_its_place_only(server, app):
    other = install(server, f"files{uuid.uuid4().hex[:8]}")
    put(server, app, "MINE", "mine")
    put(server, app, "SECOND", "second")
    put(server, other, "MINE", "theirs")
    put(server, None, "SECOND", "platform")
    shutil.copy(file_of(server, app, "MINE"), file_of(server, app, "SECOND"))
    shutil.copy(file_of(server, app, "MINE"), file_of(server, other, "MINE"))
    with pytest.raises(
        BadRequest, match="set them again: SECOND"
    ):  # the platform's is no substitute
        reveal(server, app)
    with pytest.raises(BadRequest, match="set them again: MINE"):
        reveal(server, other)
    skipped = vault(server, lambda engine: engine.reveal(app, skip_broken=True))
    assert (skipped["MINE"], "SECOND" in skipped) == ("mine", False)


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "too long", "another kind"])
def test_a_damaged_file_is_named_and_stops_the_start(server, app, damage):
    put(server, app, "BROKEN", "x")
    put(server, app, "WHOLE", "y")
    path = file_of(server, app, "BROKEN")
    content = path.read_bytes()
    broken = {
        "flipped": content[:-1] + bytes([content[-1] ^ 1]),
        "cut": content[:30],
        "emptied": b"",
        "too long": content + b"x" * MAX_FILE,
        "another kind": b"x" * len(content),
    }
    path.write_bytes(broken[damage])
    with pytest.raises(BadRequest, match="set them again: BROKEN"):
        reveal(server, app)
    put(server, app, "BROKEN", "repaired")
    assert reveal(server, app)["BROKEN"] == "repaired"


def test_a_link_is_not_followed(server, app, tmp_path):
    put(server, app, "LINK", "x")
    path = file_of(server, app, "LINK")
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadRequest, match="LINK"):
        reveal(server, app)


def test_foreign_files_are_no_secrets(server, app):
    put(server, app, "REAL", "x")
    folder = file_of(server, app, "REAL").parent
    for name in ("notes.txt", "FAKE-0123456789abcdef.secret", ".new-abc", "REAL.secret"):
        (folder / name).write_text("x")
    assert vault(server, lambda engine: engine.names(app)) == ["REAL"]


def test_a_write_that_fails_leaves_the_old_value_and_no_trail(server, app, monkeypatch):
    put(server, app, "DISK", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("contrib.vault_file.files.os.fsync", full)
    path = f"/api/v1/apps/{app}/secrets"
    answer = server.admin.post(path, json={"key": "DISK", "value": "new"})
    assert (answer.status_code, list(answer.json())) == (503, ["error"])
    assert str(root(server)) not in answer.text
    monkeypatch.undo()
    assert reveal(server, app)["DISK"] == "old"
    assert [path.name[:5] for path in (root(server) / "apps" / app).iterdir()] == ["DISK-"]
    wanted = {"app_id": "core", "entity": "secrets", "record_id": f"{app}/DISK"}
    assert len(server.admin.get("/api/v1/audit", params=wanted).json()) == 1


def test_what_a_crash_left_beside_its_place_is_swept(tmp_path):
    folder = Folder(tmp_path / "secrets")
    folder.set_up("x")
    old, young = folder.root / "apps/.new-old", folder.root / "apps/.new-young"
    old.touch()
    young.touch()
    os.utime(old, (1, 1))
    folder.sweep()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_scope_has_an_end(server, app):
    put(server, app, "KEY_0", "x")
    folder, key = Folder(root(server)), server.services.get(VAULT)._keyring.read().sealing
    for number in range(1, MAX_SECRETS):
        file = folder._file(app, f"KEY_{number}")
        file.write_bytes(seal_file(key, "x", app, f"KEY_{number}"))
    with pytest.raises(BadRequest, match="1000 secrets already"):
        put(server, app, "ONE_MORE", "x")
    put(server, app, "KEY_0", "changed")
    found = reveal(server, app)
    assert (found["KEY_0"], found["KEY_999"]) == ("changed", "x")


# Apps that come and go


def test_files_go_with_their_app_but_not_with_one_that_stays(server, app):
    put(server, app, "TOKEN", "x")
    place = root(server) / "apps" / app
    assert server.user().delete(f"/api/v1/apps/{app}").status_code == 403
    assert len(list(place.iterdir())) == 1
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert not place.exists()


def test_what_a_former_app_left_is_not_the_new_ones(server, app):
    put(server, app, "TOKEN", "x")
    place = root(server) / "apps" / app
    shutil.copytree(place, place.with_name("kept"))
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    place.with_name("kept").rename(place)  # as a server leaves it that dies after the commit
    install(server, app)
    assert vault(server, lambda engine: engine.names(app)) == []
    put(server, app, "TOKEN", "y")
    install(server, app)
    assert vault(server, lambda engine: engine.names(app)) == ["TOKEN"]


def test_a_file_that_was_written_since_is_not_deleted(tmp_path):
    folder = Folder(tmp_path / "secrets")
    folder.set_up("x")
    folder.write("crm", "OLD", b"1")
    folder.write("crm", "RENEWED", b"1")
    seen = folder.states("crm")
    folder.write("crm", "RENEWED", b"2")
    folder.write("crm", "NEW", b"2")
    folder.forget("crm", seen)
    assert folder.names("crm") == ["NEW", "RENEWED"]


# Keys


@pytest.mark.slow
def test_rotation_keeps_every_value_while_another_server_runs(make_server, tmp_path):
    one = make_server(CHOSEN, data_dir=tmp_path)
    two = make_server(CHOSEN, dsn=one.dsn, data_dir=tmp_path)
    app = install(one, "rotating")
    put(one, app, "BEFORE", "1")
    put(one, None, "SHARED", "2")
    key_file = tmp_path / "config" / "vault_file.key"
    first, sealed = key_file.read_text(), file_of(one, app, "BEFORE").read_bytes()
    done = vault(one, lambda engine: engine.rotate())
    assert (done.count, done.unopenable) == (2, ())
    assert len(key_file.read_text().split()) == 1
    assert key_file.read_text() != first
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert file_of(one, app, "BEFORE").read_bytes() != sealed
    put(two, app, "AFTER", "3")
    for server in (one, two, make_server(CHOSEN, dsn=one.dsn, data_dir=tmp_path)):
        assert reveal(server, app) == {"BEFORE": "1", "SHARED": "2", "AFTER": "3"}
    rows = one.admin.get("/api/v1/audit", params={"app_id": "core", "entity": "keys"}).json()
    assert [row["operation"] for row in rows] == ["KEYS_ROTATED"]


def test_who_has_read_the_keys_before_a_rotation_still_opens(make_server, monkeypatch):
    server = make_server(CHOSEN)
    app = install(server, "between")
    put(server, app, "KEY", "x")
    keyring = server.services.get(VAULT)._keyring
    read, before = keyring.read, [keyring.read()]
    vault(server, lambda engine: engine.rotate())
    monkeypatch.setattr(keyring, "read", lambda **more: before.pop() if before else read(**more))
    assert reveal(server, app) == {"KEY": "x"}
    assert before == []


def test_a_rotation_that_was_broken_off_goes_on(make_server, tmp_path, monkeypatch):
    server = make_server(CHOSEN, data_dir=tmp_path)
    app = install(server, "broken")
    for name in ("A", "B"):
        put(server, app, name, name)
    write = Folder.write

    def failing(folder, app_id, name, content):
        if name == "B":
            raise OSError(5, "Input/output error")
        write(folder, app_id, name, content)

    monkeypatch.setattr(Folder, "write", failing)
    with pytest.raises(Unavailable):
        vault(server, lambda engine: engine.rotate())
    monkeypatch.undo()
    assert reveal(server, app) == {"A": "A", "B": "B"}
    assert reveal(make_server(CHOSEN, dsn=server.dsn, data_dir=tmp_path), app)["B"] == "B"
    assert vault(server, lambda engine: engine.rotate()).count == 1
    assert len((tmp_path / "config" / "vault_file.key").read_text().split()) == 1
    assert reveal(server, app) == {"A": "A", "B": "B"}


def test_a_rotation_reports_what_it_could_not_open(make_server):
    server = make_server(CHOSEN)
    app = install(server, "damaged")
    put(server, app, "BAD", "x")
    put(server, app, "GOOD", "y")
    path = file_of(server, app, "BAD")
    path.write_bytes(path.read_bytes()[:-1])
    done = vault(server, lambda engine: engine.rotate())
    assert (done.count, done.unopenable) == (1, ("damaged/BAD",))


@pytest.mark.slow
def test_configured_keys_are_rotated_by_the_configuration(make_server, tmp_path):
    old, new = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    one = make_server(configured(master_key=old), data_dir=tmp_path)
    app = install(one, "configured")
    put(one, app, "KEY", "x")
    with pytest.raises(BadRequest, match="old_master_keys"):
        vault(one, lambda engine: engine.rotate())
    both = configured(master_key=new, old_master_keys=[old])
    two = make_server(both, dsn=one.dsn, data_dir=tmp_path)
    assert vault(two, lambda engine: engine.rotate()).count == 1
    three = make_server(configured(master_key=new), dsn=one.dsn, data_dir=tmp_path)
    assert reveal(three, app) == {"KEY": "x"}
    assert not (tmp_path / "config" / "vault_file.key").exists()
    with pytest.raises(Unavailable):  # the first has the old key only: it must not seal by it
        put(one, app, "LATE", "x")


def test_a_missing_or_other_key_stops_the_start_and_changes_nothing(make_server, tmp_path):
    one = make_server(CHOSEN, data_dir=tmp_path)
    install(one, "keyed")
    key_file = tmp_path / "config" / "vault_file.key"
    kept = key_file.read_text()
    key_file.unlink()
    with pytest.raises(BootError, match=r"vault_file\.key is missing.*restore"):
        make_server(CHOSEN, dsn=one.dsn, data_dir=tmp_path)
    assert not key_file.exists()
    with pytest.raises(Unavailable):
        put(one, "keyed", "A", "x")
    key_file.write_text(base64.b64encode(b"x" * 32).decode())
    key_file.chmod(0o600)
    with pytest.raises(BootError, match="is not the key that this database"):
        make_server(CHOSEN, dsn=one.dsn, data_dir=tmp_path)
    key_file.write_text(kept)
    put(one, "keyed", "A", "x")


# Folders


def test_a_folder_that_goes_away_is_not_taken_for_an_empty_one(make_server, tmp_path):
    server = make_server(CHOSEN, data_dir=tmp_path)
    app = install(server, "mounted")
    put(server, app, "KEY", "x")
    folder = tmp_path / "secrets"
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()
    path = f"/api/v1/apps/{app}/secrets"
    assert server.admin.get(path).status_code == 503
    assert server.admin.post(path, json={"key": "A", "value": "x"}).status_code == 503
    assert server.admin.delete(f"{path}/KEY").status_code == 503
    with pytest.raises(Unavailable):
        reveal(server, app)
    # Else the secrets would come back with the folder, for the next app of that name.
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 503
    assert app in server.admin.get("/api/v1/apps").text
    newcomer = {"appId": "newcomer", "name": "newcomer"}
    assert server.admin.post("/api/v1/apps", json=newcomer).status_code == 503
    assert list(folder.iterdir()) == []
    with pytest.raises(BootError, match="is not the folder of this database's secrets"):
        make_server(CHOSEN, dsn=server.dsn, data_dir=tmp_path)
    folder.rmdir()
    (tmp_path / "unmounted").rename(folder)
    assert reveal(server, app) == {"KEY": "x"}


def test_two_databases_do_not_share_a_folder(make_server, tmp_path):
    one = make_server(configured(folder=str(tmp_path / "shared")))
    put(one, None, "KEY", "x")
    with pytest.raises(BootError, match="holds the secrets of another database"):
        make_server(configured(folder=str(tmp_path / "shared")))


def test_it_is_not_left_out_where_its_folder_is_away(make_server, tmp_path):
    """Else every route of secrets would be a 500, and no worker would start."""
    (tmp_path / "file").write_text("")
    tree = configured(folder=str(tmp_path / "file" / "x"), on_failure="degrade")
    with pytest.raises(BootError, match="cannot be left out: routes of vault need 'vault'"):
        make_server(tree)


def test_a_folder_that_cannot_be_made_stops_the_start(make_server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BootError, match=r"\[plugins.vault_file\] folder.*cannot be used"):
        make_server(configured(folder=str(tmp_path / "file" / "below")))


# Moving in


def run_command(server, name):
    """Run `caudex vault-file` with the services of a server."""
    [found] = [c for c in server.kernel.commands if c.name == "vault-file"]
    [action] = [each for each in found.actions if each.name == name]

    @asynccontextmanager
    async def services():
        yield server.services

    return server.run(action.run, services)


def test_the_secrets_of_the_built_in_vault_move_in(make_server, tmp_path, capsys):
    both = {"services": {"vault": "vault"}, "plugins": {"vault_file": {}}}
    before = make_server(both, data_dir=tmp_path)
    app, other = install(before, "moving"), install(before, "staying")
    put(before, None, "SHARED", "platform")
    put(before, app, "SHARED", "app")
    put(before, app, "OWN", "€")
    put(before, other, "OWN", "other")
    put(before, other, "BROKEN", "x")
    before.sql("update caudex_vault.secrets set version = 99 where key = 'BROKEN'")
    assert not (tmp_path / "secrets").exists()
    assert run_command(before, "import") == 1
    said = capsys.readouterr()
    assert "secrets copied: 4; now set [services] vault = 'vault_file'" in said.out
    assert "staying/BROKEN cannot be opened" in said.err
    after = make_server(CHOSEN, dsn=before.dsn, data_dir=tmp_path)
    assert reveal(after, app) == {"SHARED": "app", "OWN": "€"}
    assert reveal(after, other) == {"SHARED": "platform", "OWN": "other"}
    assert vault(after, lambda engine: engine.names(None)) == ["SHARED"]
    with pytest.raises(BootError, match="is vault_file already"):
        run_command(after, "import")


@pytest.mark.slow
def test_the_command_rotates(make_server, capsys):
    server = make_server(CHOSEN)
    put(server, None, "KEY", "x")
    assert run_command(server, "rotate") == 0
    assert "secrets sealed by a new master key: 1\n" in capsys.readouterr().out


def test_the_engine_of_another_is_not_rotated(make_server):
    both = make_server({"services": {"vault": "vault"}, "plugins": {"vault_file": {}}})
    with pytest.raises(BootError, match="is another plugin's"):
        run_command(both, "rotate")


def test_it_is_off_until_it_is_named(make_server):
    kernel = load(load_config(environ={}))
    assert {info.name: info.state for info in kernel.plugins}["vault_file"] == "off"
    with pytest.raises(BootError, match="2 plugins provide it"):
        make_server({"plugins": {"vault_file": {}}})


# Sealing


def test_a_seal_holds_for_one_place_and_one_key():
    key, other = b"k" * 32, b"o" * 32
    keys = {key_id(key): key, key_id(other): other}
    content = seal_file(key, "value", "crm", "NAME")
    assert open_file(keys, content, "crm", "NAME") == "value"
    assert seal_file(key, "value", "crm", "NAME") != content
    for place in ((None, "NAME"), ("crm", "NAM"), ("cr", "mNAME"), ("crmN", "AME")):
        with pytest.raises(Unopenable):
            open_file(keys, content, *place)
    with pytest.raises(Unopenable, match="is not here"):
        open_file({}, content, "crm", "NAME")
    claimed = content[:16] + bytes.fromhex(key_id(other)) + content[24:]
    with pytest.raises(Unopenable):
        open_file(keys, claimed, "crm", "NAME")


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_file(path, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(5, "x")))
    with pytest.raises(OSError, match="x"):
        write_file(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False], ids=["installed again", "gone"])
def test_what_an_app_left_that_went_while_the_plugin_was_off_has_no_owner(
    make_server, tmp_path, again
):
    one = make_server(CHOSEN, data_dir=tmp_path)
    gone, kept = (install(one, app_id) for app_id in ("gone", "kept"))
    for app_id in (gone, kept):
        put(one, app_id, "TOKEN", "x")
    one.stop()
    off = make_server(dsn=one.dsn, data_dir=tmp_path)
    client = off.login("admin")
    assert client.delete(f"/api/v1/apps/{gone}").status_code == 200
    for app_id in [gone, kept] if again else [kept]:
        manifest = {"appId": app_id, "name": app_id}
        assert client.post("/api/v1/apps", json=manifest).status_code == 200
    off.stop()
    two = make_server(CHOSEN, dsn=one.dsn, data_dir=tmp_path)
    assert reveal(two, gone) == {}
    assert reveal(two, kept) == {"TOKEN": "x"}


@pytest.mark.slow
def test_files_that_a_killed_server_left_go_with_the_next_start(make_server, tmp_path, monkeypatch):
    one = make_server(CHOSEN, data_dir=tmp_path)
    app = install(one, "gone")
    put(one, app, "TOKEN", "x")
    monkeypatch.setattr(Folder, "forget", lambda *_: None)  # it was killed after the commit
    assert one.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    place = root(one) / "apps" / app
    assert list(place.iterdir())
    one.stop()
    monkeypatch.undo()
    make_server(CHOSEN, dsn=one.dsn, data_dir=tmp_path)
    assert not place.exists() or not list(place.iterdir())
