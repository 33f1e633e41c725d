"""What the acceptance tests cannot see from outside."""

import json
import uuid

import msgspec
import pytest
from structlog.testing import capture_logs

from kernel.database.dialect import FirstColumns
from kernel.public import (
    ACCESS,
    IDENTITY,
    SESSIONS,
    STATEMENTS,
    Actor,
    BadRequest,
    BootError,
    Forbidden,
    Keyring,
    NotFound,
    Param,
    Person,
    Query,
    Unauthenticated,
    new_delegation,
    server_actor,
)
from kernel.testing import MakeServer, running_server
from plugins.auth.maintenance import remove_expired
from plugins.auth.models import Family
from plugins.auth.service import AUTH
from plugins.auth.sessions import store
from plugins.auth.sessions.service import find_link
from plugins.auth.sign_in.limits import network_of
from plugins.auth.tokens import Tokens, digest

PASSWORD = "Str0ngPass!x"


@pytest.fixture(scope="module", autouse=True)
def admin(server):
    return server.admin


def test_an_unknown_name_costs_one_hash_like_a_known_one(server, monkeypatch):
    hasher = server.services.get(AUTH).logins._hasher
    checked = []
    original = hasher.verify

    async def verify(phc, password):
        checked.append(phc)
        return await original(phc, password)

    monkeypatch.setattr(hasher, "verify", verify)
    user = server.user()
    checked.clear()
    for name in (user.username, "no-such-user"):
        body = {"username": name, "password": "Wr0ngPass!xyz"}
        assert server.http.post("/api/v1/auth/login", json=body).status_code == 401
    assert len(checked) == 2
    assert checked[1] is None


def test_identity_knows_accounts(server):
    identity = server.services.get(IDENTITY)
    user = server.user("Knud")
    assert server.run(identity.user, user.id).username == "Knud"
    assert server.run(identity.user, user.id.upper()).id == user.id
    assert server.run(identity.find, "KNUD").id == user.id
    assert server.run(identity.find, "nobody") is None
    for bad in ("", "nonsense", "\0", str(uuid.uuid4()), "x" * 10_000):
        assert server.run(identity.user, bad) is None
    assert user.id in [u.id for u in server.run(identity.users)]
    schema, table = identity.relation()
    assert server.sql(
        "select data_type from information_schema.columns"
        " where table_schema = %s and table_name = %s and column_name = 'id'",
        schema, table,
    ) == [("uuid",)]  # fmt: skip


def test_a_token_for_work_on_a_users_behalf_is_good_as_long_as_the_account(server):
    identity = server.services.get(IDENTITY)
    user = server.user()
    token = server.run(identity.issue_delegated_token, user.id, new_delegation("app", 59.5))
    headers = {"authorization": f"Bearer {token}"}
    assert server.http.get("/api/v1/auth/me", headers=headers).json()["id"] == user.id
    server.http.post("/api/v1/auth/logout", json={"refreshToken": user.tokens["refreshToken"]})
    assert server.http.get("/api/v1/auth/me", headers=headers).status_code == 200
    server.admin.patch(f"/api/v1/users/{user.id}", json={"disabled": True})
    assert server.http.get("/api/v1/auth/me", headers=headers).status_code == 401
    for no_one in (user.id, "nonsense", str(uuid.uuid4())):
        with pytest.raises(NotFound):
            server.run(identity.issue_delegated_token, no_one, new_delegation("app", 60))


def test_the_tables_hold_hashes_only(server):
    user = server.user()
    refresh = {"refreshToken": user.tokens["refreshToken"]}
    successor = server.http.post("/api/v1/auth/refresh", json=refresh).json()["refreshToken"]
    rows = server.sql("select to_jsonb(s) from caudex_auth.sessions s where user_id = %s", user.id)
    rows += server.sql("select to_jsonb(u) from caudex_auth.users u where id = %s", user.id)
    kept = json.dumps(rows)
    tokens = _tokens(server)
    for token in (user.tokens["refreshToken"], successor):
        jti = tokens.read_refresh(token).jti
        assert jti not in kept
        assert digest(jti) in kept
        assert token.split(".")[2] not in kept
    assert PASSWORD not in kept


def test_a_signed_refresh_token_of_no_family_is_refused(server):
    user = server.user()
    tokens = _tokens(server)
    session = tokens.read_refresh(user.tokens["refreshToken"]).sid
    for sub, sid in ((user.id, str(uuid.uuid4())), (server.admin.id, session)):
        forged = tokens.refresh(sub, sid, "jti", 60)
        answer = server.http.post("/api/v1/auth/refresh", json={"refreshToken": forged})
        assert answer.status_code == 401
        assert "session revoked" in answer.json()["error"]
    assert user.get("/api/v1/auth/me").status_code == 200


def test_an_expired_access_token_says_so(server):
    user = server.user()
    expired = _tokens(server).access(user.id, user.username, str(uuid.uuid4()), -60)
    answer = server.http.get("/api/v1/auth/me", headers={"authorization": f"Bearer {expired}"})
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]


def _tokens(server):
    return Tokens(Keyring("signing", server.kernel.context.data_dir).read().sealing)


def test_a_server_with_another_key_does_not_start(server, make_server, tmp_path):
    with pytest.raises(BootError, match=r"signing\.key is missing"):
        make_server(dsn=server.dsn, data_dir=tmp_path)
    assert not (tmp_path / "config" / "signing.key").exists()
    Keyring("signing", tmp_path).read(may_create=True)
    with pytest.raises(BootError, match="key signing: it is not the key"):
        make_server(dsn=server.dsn, data_dir=tmp_path)


def test_a_key_that_is_too_short_is_refused(make_server):
    with pytest.raises(BootError, match="32"):
        make_server({"plugins": {"auth": {"signing_key": "short"}}})


@pytest.mark.slow
def test_the_key_may_come_from_the_configuration(make_server, tmp_path):
    config = {"plugins": {"auth": {"signing_key": "ab" * 32}}}
    one = make_server(config, data_dir=tmp_path)
    assert one.admin.get("/api/v1/auth/me").status_code == 200
    assert not (tmp_path / "config" / "signing.key").exists()


@pytest.mark.parametrize(
    ("host", "registration", "warned"),
    [
        ("0.0.0.0", "open", True),
        ("0.0.0.0", "first-user", False),
        ("0.0.0.0", "closed", False),
        ("127.0.0.1", "open", False),
    ],
)
def test_open_registration_beyond_loopback_is_warned_about(make_server, host, registration, warned):
    with capture_logs() as logs:
        make_server({"server": {"host": host}, "plugins": {"auth": {"registration": registration}}})
    said = [entry for entry in logs if "can register" in entry["event"]]
    assert [entry["log_level"] for entry in said] == ["warning"] * warned


def test_common_passwords_are_refused_where_the_operator_says_so(make_server, tmp_path):
    (tmp_path / "common.txt").write_text("Password1234\n")
    config = {"plugins": {"auth": {"common_passwords": str(tmp_path / "common.txt")}}}
    body = {"username": "bob", "password": "Password1234"}
    answer = make_server(config).http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 400
    assert "common" in answer.json()["error"]


@pytest.fixture(scope="module", params=[True, False])
def choosy(request, postgres):
    """A server, and whether it refuses passwords that many people use."""
    config = {"plugins": {"auth": {"refuse_common": request.param}}}
    with running_server(postgres, config) as running:
        yield running, request.param


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("Password123", 400),
        ("PASSWORD123a", 400),  # as password123a
        ("1q2w3e4r5T", 400),
        ("Str0ngPass!x", 201),
        ("Vexing7Quartz", 201),
    ],
)
def test_passwords_that_many_people_use_are_refused_if_configured(choosy, password, status):
    server, refuse = choosy
    name = f"bob{uuid.uuid4().hex[:8]}"
    body = {"username": name, "password": password}
    answer = server.http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == (status if refuse else 201)
    if answer.status_code == 400:
        assert answer.json() == {"error": "password is too common"}
    else:
        bob = server.login(name, password)
        change = {"current": password, "new": "Qwerty12345"}
        changed = bob.post("/api/v1/auth/password", json=change)
        assert changed.status_code == (400 if refuse else 200)


def test_refusals_are_logged_with_user_and_session(make_server):
    server = make_server()
    user = server.login(server.user().username)
    me, path = f"/api/v1/users/{server.admin.id}", "/api/v1/auth/me"
    session = user.get("/api/v1/auth/sessions").json()[0]["id"]
    body = {"refreshToken": user.tokens["refreshToken"]}

    def logged(ask, status):
        with capture_logs() as logs:
            assert ask().status_code == status
        [entry] = [entry for entry in logs if entry["event"] == "refused"]
        assert entry["status"] == status
        return entry.get("user"), entry.get("session")

    assert logged(lambda: user.patch(me, json={"disabled": True}), 403) == (user.id, session)
    assert logged(lambda: server.http.get(path), 401) == (None, None)
    wrong = {"username": user.username, "password": "Wr0ngPass!xyz"}
    assert logged(lambda: server.http.post("/api/v1/auth/login", json=wrong), 401) == (
        user.id,
        None,
    )
    wrong["username"] = "no-such-user"
    assert logged(lambda: server.http.post("/api/v1/auth/login", json=wrong), 401) == (None, None)
    assert server.http.post("/api/v1/auth/logout", json=body).status_code == 200
    assert logged(lambda: user.get(path), 401) == (user.id, session)
    refresh = lambda: server.http.post("/api/v1/auth/refresh", json=body)  # noqa: E731
    assert logged(refresh, 401) == (user.id, session)


def test_a_name_written_without_the_lock_is_still_a_duplicate(server, monkeypatch):
    store = server.services.get(AUTH).logins._store
    user = server.user()

    async def nothing(*_):
        from plugins.auth.models import Taken

        return Taken(False, False)

    monkeypatch.setattr(store, "find_taken", nothing)
    body = {"username": user.username.upper(), "password": PASSWORD}
    answer = server.http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == f"username '{user.username.upper()}' is already taken"


def test_the_last_admin_cannot_leave_while_another_one_leaves(make_server):
    from concurrent.futures import ThreadPoolExecutor

    server = make_server()
    first, second = server.admin, server.user()
    access = server.services.get(ACCESS)
    from kernel.public import server_actor

    server.run(access.assign, server_actor(), "core", second.id, "admin")
    pairs = [(first, second), (second, first)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda p: p[0].patch(f"/api/v1/users/{p[1].id}", json={"disabled": True}), pairs
            )
        )
    done, kept = sorted(answer.status_code for answer in answers)
    assert done == 200
    assert kept in (400, 401, 403)
    left = server.sql("select count(*) from caudex_auth.users where not disabled")
    assert left == [(1,)]


def test_sweeping_removes_what_is_over_and_nothing_else(server):
    user = server.user()
    over = server.login(user.username)
    [_, (session,)] = server.sql(
        "select id from caudex_auth.sessions where user_id = %s order by created_at", user.id
    )
    server.sql(
        "update caudex_auth.sessions set revoked_at = now() - interval '2 days' where id = %s",
        session,
    )
    server.run(remove_expired, server.services.get(STATEMENTS))
    assert len(server.sql("select id from caudex_auth.sessions where user_id = %s", user.id)) == 1
    assert user.get("/api/v1/auth/me").status_code == 200
    assert over.post("/api/v1/auth/refresh", json={"refreshToken": over.tokens["refreshToken"]}
                     ).status_code == 401  # fmt: skip


def test_a_failing_hook_leaves_no_account(server, monkeypatch):
    hooks = server.services.get(AUTH).creation._hooks

    async def refuse(*_, **__):
        raise BadRequest("not today")

    monkeypatch.setattr(hooks, "emit", refuse)
    body = {"username": "unwanted", "password": PASSWORD}
    answer = server.http.post("/api/v1/auth/register", json=body)
    assert (answer.status_code, answer.json()) == (400, {"error": "not today"})
    monkeypatch.undo()
    assert server.http.post("/api/v1/auth/register", json=body).status_code == 201


@pytest.mark.parametrize(
    ("hashed", "in_grace", "use"),
    [
        ("c", False, "current"),
        ("n", False, "next"),
        ("p", True, "parent"),
        ("p", False, "stale"),
        ("x", True, "stale"),
    ],
)
def test_a_refresh_token_is_one_link_of_its_chain(hashed, in_grace, use):
    family = Family(
        username="u", revoked=False, expired=False, in_grace=in_grace,
        current_hash="c", parent_hash="p", next_hash="n",
    )  # fmt: skip
    assert find_link(family, hashed) == use


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("somewhere", "somewhere"),
    ],
)
def test_clients_of_one_network_count_as_one(address, network):
    assert network_of(address) == network


def test_who_signs_in_by_other_means_has_an_account_that_no_password_opens(server):
    identity, sessions = server.services.get(IDENTITY), server.services.get(SESSIONS)
    assert server.admin
    person = Person(username="Outside", email="Outside@Example.org", display_name="O")
    user = server.run(identity.add, server_actor(), person)
    assert (user.username, user.email, user.display_name) == ("Outside", "Outside@Example.org", "O")
    assert server.run(identity.find_email, "outside@example.ORG") == user
    assert server.run(identity.find_email, "outside") is None
    for password in ("", "Str0ngPass!x", "!"):
        body = {"username": "outside", "password": password}
        assert server.http.post("/api/v1/auth/login", json=body).status_code in (400, 401)
    reported = msgspec.json.decode(
        server.run(sessions.begin, user.id, Actor(user_id=None), "browser")
    )
    assert reported.keys() == {"accessToken", "refreshToken", "expiresIn", "user"}
    headers = {"authorization": f"Bearer {reported['accessToken']}"}
    assert server.http.get("/api/v1/auth/me", headers=headers).json()["id"] == user.id
    assert server.admin.patch(f"/api/v1/users/{user.id}", json={"disabled": True}).is_success
    assert server.http.get("/api/v1/auth/me", headers=headers).status_code == 401
    with pytest.raises(Unauthenticated):
        server.run(sessions.begin, user.id, Actor(user_id=None))


def test_an_account_that_no_password_opens_is_made_whatever_chance_brings(server, monkeypatch):
    identity = server.services.get(IDENTITY)
    for number, letter in enumerate("aZ7-"):
        monkeypatch.setattr(
            "plugins.auth.accounts.creation.secrets.token_urlsafe",
            lambda size, letter=letter: letter * 43,
        )
        person = Person(username=f"chance{number}")
        assert server.run(identity.add, server_actor(), person).username == person.username


def test_the_first_account_is_made_on_purpose(make_server):
    identity = (server := make_server()).services.get(IDENTITY)
    with pytest.raises(Forbidden, match="caudex users create"):
        server.run(identity.add, server_actor(), Person(username="outside"))
    assert server.admin
    assert server.run(identity.add, server_actor(), Person(username="outside"))
    with pytest.raises(BadRequest, match="already taken"):
        server.run(identity.add, server_actor(), Person(username="OUTSIDE"))


def test_the_oldest_sessions_of_an_account_make_room(server, monkeypatch):
    monkeypatch.setattr(store, "MAX_SESSIONS", 3)
    user = server.user()
    tokens = [server.login(user.username) for _ in range(5)]
    alive = [each.get("/api/v1/auth/me").status_code for each in tokens]
    assert alive == [401, 401, 200, 200, 200]
    assert user.get("/api/v1/auth/me").status_code == 401
    assert len(tokens[-1].get("/api/v1/auth/sessions").json()) == 3


def test_a_login_is_two_statements_and_the_row_of_the_trail(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
):
    server = make_server({"plugins": {"auth": {"rate_limit_logins": True}}})
    user = server.user()
    body = {"username": user.username, "password": user.password}
    sent = list[str]()

    def noted(name: str):
        original = getattr(FirstColumns, name)

        async def call(self: object, query: Query, *params: Param, **more: bool):
            sent.append(query if isinstance(query, str) else query.decode())
            return await original(self, query, *params, **more)

        monkeypatch.setattr(FirstColumns, name, call)

    assert server.http.post("/api/v1/auth/login", json=body).status_code == 200
    for name in ("fetch", "fetch_all", "execute", "execute_all"):
        noted(name)
    assert server.http.post("/api/v1/auth/login", json=body).status_code == 200
    assert len(sent) == 3, sent
    assert "from caudex_auth.users" in sent[0]
    assert "insert into caudex_auth.sessions" in sent[1]
    assert "insert into caudex_audit.log" in sent[2]
