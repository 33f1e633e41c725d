"""Sign-ins: kept for several servers, renewed, ended, and refused in one line."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pyotp
import pytest

from kernel.testing import PASSWORD, MakeServer, Server

from .support import Author


def file_of(author: Author) -> Path:
    return author.folder / ".config/caudex/servers.json"


def kept(author: Author) -> dict[str, object]:
    return json.loads(file_of(author).read_text("utf-8"))


def sign_in(author: Author, server: Server) -> None:
    name = server.user().username
    author.ok("login", "--url", server.url, "--username", name, typed=f"{PASSWORD}\n")


def test_a_sign_in_is_kept_for_its_owner_only(stranger: Author, server: Server) -> None:
    user = server.user()
    answer = stranger.json(
        "login", "--url", f"{server.url}/", typed=f"{user.username}\n{PASSWORD}\n"
    )
    assert answer == {"url": server.url, "username": user.username, "kind": "session"}
    assert stat.S_IMODE(file_of(stranger).stat().st_mode) == 0o600
    assert PASSWORD not in file_of(stranger).read_text("utf-8")


def test_a_wrong_password_is_refused_and_nothing_is_kept(stranger: Author, server: Server) -> None:
    name = server.user().username
    words = ("login", "--url", server.url, "--username", name)
    assert stranger.refused(*words, typed="Wr0ngPass!x\n") == "invalid credentials"
    assert not file_of(stranger).exists()


def test_a_second_factor_is_asked_for(stranger: Author, server: Server) -> None:
    user = server.user()
    secret = user.post("/api/v1/auth/totp", json={"password": PASSWORD}).json()["secret"]
    totp = pyotp.TOTP(secret)
    confirmed = user.post("/api/v1/auth/totp/confirm", json={"code": totp.now()})
    assert confirmed.is_success, confirmed.text
    code = confirmed.json()["recoveryCodes"][0]
    words = ("login", "--url", server.url, "--username", user.username)
    assert stranger.refused(*words, typed=f"{PASSWORD}\n000000\n") == "invalid credentials"
    stranger.ok(*words, typed=f"{PASSWORD}\n{code}\n")


def test_a_key_is_a_sign_in(stranger: Author, server: Server) -> None:
    user = server.user()
    key = user.post("/api/v1/auth/keys", json={"name": "cli"}).json()["key"]
    answer = stranger.json("login", "--url", server.url, "--key", typed=f"{key}\n")
    assert answer["kind"] == "key"
    assert stranger.json("logout") == {"urls": [server.url]}
    assert user.get("/api/v1/auth/keys").json()[0]["name"] == "cli"
    refusal = stranger.refused("login", "--url", server.url, "--key", "cdx_wrong")
    assert refusal == f"{server.url} does not accept this key"


def test_the_first_account_and_others_can_be_made(
    stranger: Author, make_server: MakeServer
) -> None:
    server = make_server()
    words = ("login", "--url", server.url, "--username", "ada")
    assert "make the first one" in stranger.refused(*words, typed=f"{PASSWORD}\n")
    stranger.ok(*words, "--register", typed=f"{PASSWORD}\n")
    assert server.login("ada").get("/api/v1/users").is_success


def test_servers_are_side_by_side(
    stranger: Author, server: Server, make_server: MakeServer
) -> None:
    other = make_server()
    sign_in(stranger, server)
    sign_in(stranger, other)
    assert sorted(kept(stranger)["servers"]) == sorted([server.url, other.url])
    assert kept(stranger)["current"] == other.url
    assert stranger.json("logout") == {"urls": [other.url]}
    assert kept(stranger)["current"] == server.url
    assert stranger.json("logout", "--all") == {"urls": [server.url]}
    assert stranger.refused("logout") == "not signed in"


def test_a_session_that_is_about_to_end_is_renewed_once(stranger: Author, server: Server) -> None:
    name = server.admin.username
    stranger.ok("login", "--url", server.url, "--username", name, typed=f"{PASSWORD}\n")
    server.install({"appId": "renewed", "name": "Renewed"})
    login = kept(stranger)
    before = login["servers"][server.url]
    before["expires"] = 1.0
    file_of(stranger).write_text(json.dumps(login), "utf-8")
    threads = [
        threading.Thread(target=pull, args=(stranger.folder, server.url, number))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = kept(stranger)["servers"][server.url]
    assert after["refresh_token"] != before["refresh_token"]
    stranger.ok("app", "status", "--app", "renewed")


def pull(folder: Path, url: str, number: int) -> None:
    """Read something with the kept sign-in, beside other commands that do the same."""
    import anyio

    from plugins.authoring.server.access import credentials_of
    from plugins.authoring.server.connection import ServerConnection
    from plugins.authoring.server.logins import LoginFile

    async def read() -> None:
        file = LoginFile(folder / ".config/caudex")
        login = file.read().servers[url]
        async with ServerConnection(url, credentials_of(file, url, login)) as server:
            assert (await server.get("/api/v1/auth/me"))["username"] == login.username

    anyio.run(read)


def test_a_session_that_has_ended_says_so(stranger: Author, server: Server) -> None:
    sign_in(stranger, server)
    login = kept(stranger)["servers"][server.url]
    server.http.post("/api/v1/auth/logout", json={"refreshToken": login["refresh_token"]})
    expected = f"the sign-in at {server.url} has ended: caudex login --url {server.url}"
    assert stranger.refused("app", "status", "--app", "crm") == expected


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:9100", "http://u:p@x", "http://x:99999"])
def test_an_address_that_is_none_is_refused(stranger: Author, url: str) -> None:
    assert "is no address of a server" in stranger.refused("login", "--url", url)


def test_a_server_that_is_away_is_named(stranger: Author) -> None:
    refusal = stranger.refused(
        "login", "--url", "http://127.0.0.1:1", "--username", "x", typed="x\n"
    )
    assert refusal.startswith("no server answers at http://127.0.0.1:1")


def test_without_a_sign_in_commands_say_how(stranger: Author) -> None:
    assert stranger.refused("app", "status", "--app", "crm") == (
        "sign in first: caudex login --url URL"
    )


def test_a_broken_file_of_sign_ins_is_named(stranger: Author) -> None:
    file_of(stranger).parent.mkdir(parents=True)
    file_of(stranger).write_text("{", "utf-8")
    assert "remove it and sign in again" in stranger.refused("logout")


def test_a_wrong_command_line_is_2(stranger: Author) -> None:
    ended = stranger.run("login", "--key", "x", "--register")
    assert ended.status == 2
    assert stranger.run("login", "--nothing").status == 2
