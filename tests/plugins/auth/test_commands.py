"""`caudex users`, as an operator types it."""

import io
import json
import sys
from functools import partial

import pytest
from nacl.pwhash import argon2id

from kernel.cli.main import main
from kernel.testing.conformance.kit import eventually

PASSWORD = "Str0ngPass!x"


@pytest.fixture(scope="module", autouse=True)
def admin(server):
    return server.admin


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run `caudex users ...` against a server's database and return (status, out, err)."""
    monkeypatch.delenv("CAUDEX_TEST_DATABASE_URL", raising=False)

    def run(server, *words, stdin=""):
        config = tmp_path / "caudex.toml"
        folder = server.kernel.context.data_dir
        config.write_text(
            f"[server]\ndata_dir = '{folder}'\n[database]\nurl = '''{server.dsn}'''\n"
        )
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = main(["users", *words, "--config", str(config)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def caudex(server, command):
    return partial(command, server)


def test_accounts_are_made_with_a_password_from_stdin(server, caudex):
    status, out, _ = caudex("create", "olga", "--email", "olga@example.com", stdin=f"{PASSWORD}\n")
    assert status == 0
    assert "created user 'olga'" in out
    assert server.login("olga@example.com").id in out


def test_a_bad_password_is_one_line_on_stderr(caudex):
    status, out, err = caudex("create", "weak", stdin="weak\n")
    assert (status, out) == (1, "")
    assert err == "caudex: password must have 10 to 1024 characters\n"


def test_the_password_is_no_argument(caudex):
    for words in ([PASSWORD], ["--password", PASSWORD]):
        status, _, err = caudex("create", "otto", *words, stdin=f"{PASSWORD}\n")
        assert status == 2
        assert err


def test_accounts_are_listed_in_a_table(server, caudex):
    user = server.user("Petra")
    status, out, _ = caudex("list")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["username", "email", "display", "name", "state", "created", "id"]
    [line] = [line for line in lines if line.startswith("Petra ")]
    assert "active" in line
    assert line.endswith(user.id)


def test_options_of_every_command_may_follow_the_action(server, caudex, tmp_path):
    extra = tmp_path / "extra.py"
    extra.write_text("from caudex import Plugin\n\n\nclass Extra(Plugin):\n    name = 'extra'\n")
    assert caudex("list", "--plugin", str(extra))[0] == 0
    status, _, err = caudex("list", "--plugin", str(tmp_path / "gone.py"))
    assert (status, err.count("\n")) == (78, 1)


def test_a_new_password_ends_every_session(server, caudex):
    user = server.user()
    status, _, _ = caudex("passwd", user.username, stdin="N3wPassword!\n")
    assert status == 0
    body = {"refreshToken": user.tokens["refreshToken"]}
    assert server.http.post("/api/v1/auth/refresh", json=body).status_code == 401
    assert server.login(user.username, "N3wPassword!")


def test_disabling_keeps_someone_out_until_enabled(server, caudex):
    user = server.user()
    body = {"username": user.username, "password": PASSWORD}
    assert caudex("disable", user.username)[0] == 0
    assert server.http.post("/api/v1/auth/login", json=body).status_code == 401
    assert caudex("enable", user.username)[0] == 0
    assert server.http.post("/api/v1/auth/login", json=body).status_code == 200


def test_admin_is_granted(server, caudex):
    user = server.user()
    status, out, _ = caudex("grant-admin", user.username)
    assert (status, out) == (0, f"user '{user.username}' is admin of everything\n")
    body = {"display_name": "Admin"}
    path = f"/api/v1/users/{user.id}"  # the server hears of it as of what any other process does
    eventually(lambda: user.patch(path, json=body).status_code == 200)


def test_the_last_admin_cannot_be_disabled(make_server, command):
    server = make_server()
    assert server.admin
    status, _, err = command(server, "disable", "admin")
    assert status == 1
    assert "admin" in err
    assert server.admin.get("/api/v1/auth/me").status_code == 200


def test_an_unknown_user_is_reported(caudex):
    status, _, err = caudex("disable", "no-such-user")
    assert status == 1
    assert err == "caudex: there is no user 'no-such-user'\n"


def hashed(password, passes=2, memory=19 * 1024 * 1024):
    return argon2id.str(password.encode(), opslimit=passes, memlimit=memory).decode()


@pytest.mark.slow
def test_accounts_of_another_system_keep_their_passwords(server, caudex, dear_hashes):
    lines = [
        {"id": "7", "email": "ivy@example.com", "display_name": "Ivy", "is_system": False,
         "password_hash": hashed("short", 3, 64 * 1024 * 1024)},
        {"username": "ivo", "password_hash": hashed(PASSWORD)},
    ]  # fmt: skip
    stdin = "\n".join(map(json.dumps, lines)) + "\n\n"
    assert caudex("import", stdin=stdin)[:2] == (0, "2 imported, 0 skipped, 0 refused\n")
    for body in ({"email": "ivy@example.com", "password": "short"},
                 {"username": "ivo", "password": PASSWORD}):  # fmt: skip
        answer = server.http.post("/api/v1/auth/login", json=body)
        assert answer.status_code == 200, answer.text
        headers = {"authorization": f"Bearer {answer.json()['accessToken']}"}
        assert server.http.get("/api/v1/users", headers=headers).status_code == 200
    renewed = server.sql("select password_hash from caudex_auth.users where username_key = %s",
                         "ivy@example.com")  # fmt: skip
    assert renewed[0][0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    status, out, _ = caudex("import", stdin=stdin)
    assert (status, out.splitlines()[-1]) == (0, "0 imported, 2 skipped, 0 refused")
    assert "line 1: skipped: email 'ivy@example.com' is already taken" in out


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "Input data was truncated"),
        ('{"username": "ian"}', "password_hash"),
        ('{"username": "ian", "password_hash": "$2b$12$abc"}', "must be $argon2id$"),
        (json.dumps({"password_hash": hashed(PASSWORD)}), "username is required"),
        (json.dumps({"username": "ian", "password_hash": hashed(PASSWORD).replace("t=2", "t=99")}),
         "at most 256 MiB"),
        (json.dumps({"username": "ian", "password_hash": hashed(PASSWORD).replace("p=1", "p=4")}),
         "must be $argon2id$"),
    ],
)  # fmt: skip
def test_an_account_that_cannot_be_imported_is_named_and_does_not_stop_the_others(
    server, caudex, line, problem
):
    name = f"ok{abs(hash(line)) % 10**8}"
    good = json.dumps({"username": name, "password_hash": hashed(PASSWORD)})
    status, _, err = caudex("import", stdin=f"{line}\n{good}\n")
    assert status == 1
    assert err.startswith("line 1: ")
    assert problem in err
    assert "1 imported, 0 skipped, 1 refused" in err
    assert server.login(name)


def test_an_import_never_makes_the_first_account(make_server, command):
    server = make_server()
    line = json.dumps({"username": "eve", "password_hash": hashed(PASSWORD)})
    status, _, err = command(server, "import", stdin=line)
    assert status == 1
    assert "the first account is made here: caudex users create" in err
    assert server.sql("select count(*) from caudex_auth.users") == [(0,)]


def test_an_invite_is_a_link_that_works_once(server, caudex):
    server.install({"appId": "desk", "name": "Desk"})
    role = {"name": "seller", "permissions": []}
    assert server.admin.post("/api/v1/apps/desk/roles", json=role).status_code == 200
    status, out, err = caudex(
        "invite", "--app", "desk", "--role", "seller", "--email", "ida@example.com",
        "--url", "https://desk.example.com/",
    )  # fmt: skip
    assert status == 0, err
    link, _, token = out.strip().partition("#invite=")
    assert link == "https://desk.example.com/console/"
    assert "'admin' invites; the link works once" in err
    form = {"token": token, "username": "ida", "password": PASSWORD}
    made = server.http.post("/api/v1/auth/invites/accept", json=form)
    assert made.status_code == 201, made.text
    assert made.json()["user"]["email"] == "ida@example.com"
    rights = server.login("ida").get("/api/v1/apps/desk/permissions").json()
    assert rights["roles"] == ["seller"]
    again = server.http.post("/api/v1/auth/invites/accept", json=form | {"username": "ida2"})
    assert again.status_code == 403
    assert again.json()["error"].startswith("the invite is not valid")


def test_an_invite_is_of_a_core_admin(server, caudex):
    server.user("Pia")
    assert caudex("invite", "--by", "Pia")[::2] == (
        1, "caudex: 'Pia' is no core admin, and only these invite\n",
    )  # fmt: skip
    assert caudex("invite", "--by", "nobody")[0] == 1
    status, _, err = caudex("invite", "--app", "nowhere", "--role", "x")
    assert (status, err.startswith("caudex: ")) == (1, True)
    assert caudex("invite", "--days", "31")[0] == 2
    status, out, _ = caudex("invite")
    assert status == 0
    assert out.startswith("http://")
