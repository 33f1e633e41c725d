"""Second factor: set up, asked for at a login, used once, removed, and demanded."""

import base64
import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import anyio
import pyotp
import pytest

from kernel.public import IDENTITY, new_delegation
from plugins.auth.service import AUTH
from plugins.auth.sign_in import codes

PASSWORD = "Str0ngPass!x"
TOTP = "/api/v1/auth/totp"
DEMANDED = {"error": "second factor must be set up"}
OTHER = "An0therPass!y"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Stop the clock of the codes in the middle of a step, and let a test move it."""
    return Clock(monkeypatch)


class Clock:
    def __init__(self, monkeypatch):
        self.now = time.time() // 30 * 30 + 15
        monkeypatch.setattr(codes, "time", lambda: self.now)

    def code(self, secret, steps=0):
        return pyotp.TOTP(secret).generate_otp(int(self.now) // 30 + steps)

    def next(self, steps=1):
        self.now += 30 * steps


@pytest.fixture
def user(server):
    """An account with a second factor, which was confirmed some time ago."""
    return enrolled(server)


def enrolled(server, client=None):
    client = client or server.user()
    client.secret = client.post(TOTP).json()["secret"]
    answer = client.post(
        f"{TOTP}/confirm", json={"code": pyotp.TOTP(client.secret).at(int(codes.time()))}
    )
    client.recovery = answer.json()["recoveryCodes"]
    server.sql("update caudex_auth.totp set last_step = 0 where user_id = %s", client.id)
    return client


def login(server, username, code=None, password=PASSWORD):
    body = {"username": username, "password": password}
    return server.http.post("/api/v1/auth/login", json=body | ({"code": code} if code else {}))


def refused(answer):
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid credentials"})


# --- set up


def test_setup_gives_a_secret_and_an_address_for_authenticators(server):
    client = server.user("Åsa & co")
    given = client.post(TOTP).json()
    assert given.keys() == {"secret", "uri", "qr"}
    assert {len(row) for row in given["qr"]} == {len(given["qr"])}
    assert [row[:7] for row in given["qr"][:3]] == ["1111111", "1000001", "1011101"]  # a corner
    assert len(base64.b32decode(given["secret"])) == 20
    address = urlsplit(given["uri"])
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    query = parse_qs(address.query)
    assert query["secret"] == [given["secret"]]
    assert query["issuer"] == ["Caudex"]


def test_a_long_name_has_no_code_to_scan(server):
    given = server.user("Å" * 60).post(TOTP).json()
    assert given["qr"] is None
    assert given["uri"].startswith("otpauth://totp/")


def test_factor_counts_once_it_is_confirmed(server, clock):
    client = server.user()
    secret = client.post(TOTP).json()["secret"]
    assert login(server, client.username).status_code == 200
    for wrong in ("", "12345", "abcdef", "éééééé", "0" * 300, clock.code(secret, 2)):
        answer = client.post(f"{TOTP}/confirm", json={"code": wrong})
        assert (answer.status_code, answer.json()) == (400, {"error": "the code is wrong"})
    answer = client.post(f"{TOTP}/confirm", json={"code": clock.code(secret)})
    assert answer.status_code == 200
    recovery = answer.json()["recoveryCodes"]
    assert len(set(recovery)) == 10
    assert all(re.fullmatch(r"[a-z2-7]{7}(-[a-z2-7]{7}){3}", code) for code in recovery)
    assert login(server, client.username).status_code == 401


def test_code_that_confirmed_is_used(server, clock):
    client = server.user()
    secret = client.post(TOTP).json()["secret"]
    code = clock.code(secret)
    assert client.post(f"{TOTP}/confirm", json={"code": code}).status_code == 200
    refused(login(server, client.username, code))
    clock.next()
    assert login(server, client.username, clock.code(secret)).status_code == 200


def test_setup_can_be_begun_again_until_it_is_confirmed(server, clock):
    client = server.user()
    first, second = (client.post(TOTP).json()["secret"] for _ in range(2))
    assert first != second
    assert client.post(f"{TOTP}/confirm", json={"code": clock.code(first)}).status_code == 400
    assert client.post(f"{TOTP}/confirm", json={"code": clock.code(second)}).status_code == 200
    assert client.post(TOTP).status_code == 400
    assert client.post(f"{TOTP}/confirm", json={"code": clock.code(second)}).status_code == 400


def test_nothing_is_confirmed_that_was_not_begun(server):
    assert server.user().post(f"{TOTP}/confirm", json={"code": "123456"}).status_code == 400


def test_setup_is_confirmed_once_by_two_requests(server, clock):
    client = server.user()
    code = clock.code(client.post(TOTP).json()["secret"])
    with ThreadPoolExecutor(4) as pool:
        answers = [
            answer.status_code
            for answer in pool.map(
                lambda _: client.post(f"{TOTP}/confirm", json={"code": code}), range(4)
            )
        ]
    assert sorted(answers) == [200, 400, 400, 400]
    assert server.sql(
        "select count(*) from caudex_auth.recovery_codes where user_id = %s", client.id
    ) == [(10,)]


def test_every_route_needs_a_token(server):
    assert server.http.post(TOTP).status_code == 401
    assert server.http.post(f"{TOTP}/confirm", json={"code": "123456"}).status_code == 401
    assert server.http.request("DELETE", TOTP, json={"password": PASSWORD}).status_code == 401
    assert server.http.delete(f"/api/v1/users/{server.admin.id}/totp").status_code == 401


# --- login


def test_right_password_alone_asks_for_the_factor(server, user):
    answer = login(server, user.username)
    expected = {"error": "second factor required", "secondFactor": True}
    assert (answer.status_code, answer.json()) == (401, expected)
    refused(login(server, user.username, password="Wr0ngPass!xyz"))


def test_code_signs_in(server, user, clock):
    answer = login(server, user.username, clock.code(user.secret))
    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == user.id


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (-1, 200), (1, 200), (2, 401)])
def test_clock_may_differ_by_one_step(server, user, clock, steps, status):
    assert login(server, user.username, clock.code(user.secret, steps)).status_code == status


def test_wrong_codes_are_invalid_credentials(server, user):
    for wrong in ("000000", "12345", "é" * 6, "not a code", "0" * 5000, user.recovery[0][:-1]):
        refused(login(server, user.username, wrong))


def test_code_does_not_replace_the_password(server, user, clock):
    code = clock.code(user.secret)
    refused(login(server, user.username, code, "Wr0ngPass!xyz"))
    assert login(server, user.username, code).status_code == 200


def test_code_works_once(server, user, clock):
    code = clock.code(user.secret)
    assert login(server, user.username, code).status_code == 200
    refused(login(server, user.username, code))


def test_code_before_a_used_one_is_refused(server, user, clock):
    assert login(server, user.username, clock.code(user.secret, 1)).status_code == 200
    refused(login(server, user.username, clock.code(user.secret)))


@pytest.mark.slow
def test_code_works_once_for_parallel_requests_at_two_servers(
    make_server, tmp_path, clock, monkeypatch
):
    first = make_server(data_dir=tmp_path)
    second = make_server(data_dir=tmp_path, dsn=first.dsn)
    for server in (first, second):
        factors = server.services.get(AUTH).factors

        async def check_early(*given, check=factors.check):
            accepted = await check(*given)
            await anyio.sleep(1)  # so that all have read the factor before one uses the code
            return accepted

        monkeypatch.setattr(factors, "check", check_early)
    user = enrolled(first)
    for code in (clock.code(user.secret), user.recovery[3]):
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(
                lambda n, code=code: login([first, second][n % 2], user.username, code), range(8)
            )
            assert sorted(each.status_code for each in answers) == [200] + [401] * 7


def test_recovery_code_works_once_however_it_is_typed(server, user):
    typed = user.recovery[0].upper().replace("-", " ")
    assert login(server, user.username, typed).status_code == 200
    refused(login(server, user.username, user.recovery[0]))
    assert login(server, user.username, user.recovery[1]).status_code == 200


def test_code_of_another_account_is_refused(server, user, clock):
    other = enrolled(server)
    refused(login(server, user.username, clock.code(other.secret)))
    refused(login(server, user.username, other.recovery[0]))
    assert login(server, other.username, other.recovery[0]).status_code == 200


def test_code_is_ignored_where_no_factor_is_set_up(server):
    assert login(server, server.user().username, "123456").status_code == 200


@pytest.mark.slow
def test_wrong_codes_count_in_the_throttle(make_server, clock):
    server = make_server({"plugins": {"auth": {"rate_limit_logins": True}}})
    user = enrolled(server)
    assert [login(server, user.username, "000000").status_code for _ in range(6)] == [401] * 6
    server.sql("update caudex_auth.throttle set blocked_until = blocked_until + interval '1 min'")
    assert login(server, user.username, clock.code(user.secret)).status_code == 429
    assert login(server, user.username).status_code == 429


def test_missing_code_does_not_forgive_wrong_ones(make_server):
    server = make_server({"plugins": {"auth": {"rate_limit_logins": True}}})
    user = enrolled(server)
    failures = "select max(failures) from caudex_auth.throttle where key like 'account:%%'"
    assert [login(server, user.username, "000000").status_code for _ in range(3)] == [401] * 3
    assert login(server, user.username).json()["secondFactor"]
    assert server.sql(failures) == [(3,)]


def test_setup_that_ends_during_a_login_does_not_let_it_through(server, monkeypatch, clock):
    client = server.user()
    secret = client.post(TOTP).json()["secret"]
    sessions = server.services.get(AUTH).sessions
    begin = sessions.begin

    async def late(*given):
        server.sql("update caudex_auth.totp set confirmed_at = now() where user_id = %s", client.id)
        return await begin(*given)

    monkeypatch.setattr(sessions, "begin", late)
    assert secret
    assert login(server, client.username).json()["secondFactor"]


# --- at rest


def test_database_holds_no_secret_and_no_code(server, user):
    rows = server.sql(
        "select t::text, c::text from caudex_auth.totp t"
        " join caudex_auth.recovery_codes c using (user_id) where user_id = %s",
        user.id,
    )
    assert len(rows) == 10
    for row in map(str, rows):
        assert user.secret not in row
        assert base64.b32decode(user.secret).hex() not in row
        assert not any(code in row or code.replace("-", "") in row for code in user.recovery)


def test_secret_that_is_copied_to_another_account_does_not_open(server, user, clock):
    other = enrolled(server)
    server.sql(
        "update caudex_auth.totp set sealed = (select sealed from caudex_auth.totp"
        " where user_id = %s) where user_id = %s",
        other.id,
        user.id,
    )
    refused(login(server, user.username, clock.code(other.secret)))


@pytest.mark.slow
def test_new_signing_key_leaves_the_recovery_codes(make_server, tmp_path, clock):
    before = make_server(data_dir=tmp_path)
    user = enrolled(before)
    before.stop()
    before.sql("delete from caudex_kernel.keys where name = 'signing'")
    (tmp_path / "config" / "signing.key").unlink()
    server = make_server(data_dir=tmp_path, dsn=before.dsn)
    refused(login(server, user.username, clock.code(user.secret)))
    assert login(server, user.username, user.recovery[0]).status_code == 200


def test_nothing_secret_is_in_the_trail(server, user):
    login(server, user.username, user.recovery[0])
    query = "/api/v1/audit?app_id=core&limit=1000"
    rows = [row for row in server.admin.get(query).json() if row["record_id"] == user.id]
    assert {"SECOND_FACTOR_ADDED", "RECOVERY_CODE_USED"} <= {row["operation"] for row in rows}
    assert not any(secret in str(rows) for secret in (user.secret, *user.recovery))


# --- removal


def test_removal_needs_the_password(server, user):
    answer = user.request("DELETE", TOTP, json={"password": "Wr0ngPass!xyz"})
    assert (answer.status_code, answer.json()["error"]) == (400, "the current password is wrong")
    assert login(server, user.username).status_code == 401
    assert user.request("DELETE", TOTP, json={"password": PASSWORD}).status_code == 200
    assert login(server, user.username).status_code == 200
    assert user.request("DELETE", TOTP, json={"password": PASSWORD}).status_code == 404
    assert enrolled(server, user).secret


def test_guesses_of_the_password_at_the_removal_are_throttled(make_server):
    server = make_server({"plugins": {"auth": {"rate_limit_logins": True}}})
    user = enrolled(server)
    wrong = {"password": "Wr0ngPass!xyz"}
    answers = [user.request("DELETE", TOTP, json=wrong).status_code for _ in range(7)]
    assert answers[:5] == [400] * 5
    assert answers[-1] == 429


def test_core_admin_resets_the_factor_of_a_user(server, user):
    path = f"/api/v1/users/{user.id}/totp"
    assert server.user().delete(path).status_code == 403
    assert user.delete(path).status_code == 403
    assert server.admin.delete(path).status_code == 200
    assert login(server, user.username).status_code == 200
    assert server.admin.delete(path).status_code == 404
    assert server.admin.delete(path.replace(user.id, "nonsense")).status_code == 400
    unknown = path.replace(user.id, "00000000-0000-0000-0000-000000000000")
    assert "not found" in server.admin.delete(unknown).json()["error"]


def test_account_is_deleted_with_its_factor(server, user):
    assert server.admin.delete(f"/api/v1/users/{user.id}").status_code == 200
    assert server.sql("select 1 from caudex_auth.totp where user_id = %s", user.id) == []


def test_worker_cannot_change_the_factor_of_its_caller(server, user):
    issue = server.services.get(IDENTITY).issue_delegated_token
    token = server.run(issue, user.id, new_delegation("app", 60))
    worker = {"authorization": f"Bearer {token}"}
    assert server.http.post(TOTP, headers=worker).status_code == 403
    answer = server.http.request("DELETE", TOTP, json={"password": PASSWORD}, headers=worker)
    assert answer.status_code == 403


# --- demanded


OPEN_PATHS = ("/api/v1/auth/me",)
CLOSED = ("/api/v1/users", "/api/v1/apps", "/api/v1/auth/sessions", "/api/v1/status")


def demands(client, expected):
    """Whether everything but what the demand needs is refused."""
    for path in CLOSED:
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (403, expected), path
    assert client.get("/api/v1/auth/me").status_code == 200


def meets(client):
    assert [client.get(path).status_code for path in CLOSED[:3]] == [200] * 3


def logged_out(server, client):
    body = {"refreshToken": client.tokens["refreshToken"]}
    return server.http.post("/api/v1/auth/logout", json=body).status_code


def test_configuration_demands_the_factor_of_everyone(make_server):
    server = make_server({"plugins": {"auth": {"second_factor": "required"}}})
    admin = server.admin
    demands(admin, DEMANDED)
    assert admin.patch(f"/api/v1/users/{admin.id}", json={"email": None}).json() == DEMANDED
    enrolled(server, admin)
    meets(admin)
    user = server.user()
    demands(user, DEMANDED)
    body = {"current": PASSWORD, "new": OTHER}
    assert user.post("/api/v1/auth/password", json=body).status_code == 200
    assert logged_out(server, user) == 200


def test_configuration_demands_the_factor_of_admins(make_server):
    server = make_server({"plugins": {"auth": {"second_factor": "admins"}}})
    demands(server.admin, DEMANDED)
    enrolled(server, server.admin)
    user = server.user()
    meets(user)
    server.assign(user, "core", "admin")
    demands(user, DEMANDED)
    enrolled(server, user)
    meets(user)
    assert user.request("DELETE", TOTP, json={"password": PASSWORD}).status_code == 200
    demands(user, DEMANDED)


def test_role_demands_the_factor(server):
    roles, user = "/api/v1/apps/core/roles", server.user()
    name, child = f"guarded{user.id[:8]}", f"child{user.id[:8]}"
    body = {"name": name, "secondFactor": True}
    assert server.admin.post(roles, json=body).status_code == 200
    assert server.admin.post(roles, json={"name": child, "inherits": [name]}).status_code == 200
    listed = {role["name"]: role for role in server.admin.get(roles).json()}
    assert listed[name]["secondFactor"] is True
    assert listed[child].keys() == {"name", "description", "inherits", "permissions"}
    meets(user)
    server.assign(user, "core", child)
    demands(user, DEMANDED)
    assert server.admin.patch(f"{roles}/{name}", json={"secondFactor": False}).status_code == 200
    meets(user)
    assert server.admin.patch(f"{roles}/{name}", json={"secondFactor": True}).status_code == 200
    demands(user, DEMANDED)
    assert server.admin.patch(f"{roles}/{name}", json={"description": "d"}).status_code == 200
    demands(user, DEMANDED)
    enrolled(server, user)
    meets(user)


def test_role_admin_cannot_be_changed_to_demand_the_factor(server):
    path = "/api/v1/apps/core/roles/admin"
    assert server.admin.patch(path, json={"secondFactor": True}).status_code == 400


@pytest.mark.slow
def test_demand_reaches_the_tokens_of_another_server(make_server, tmp_path):
    first = make_server(data_dir=tmp_path)
    second = make_server(data_dir=tmp_path, dsn=first.dsn)
    user = first.user()
    at_second = {"authorization": user.headers["authorization"]}
    there = second.http.get
    assert there("/api/v1/users", headers=at_second).status_code == 200
    first.admin.post("/api/v1/apps/core/roles", json={"name": "guarded", "secondFactor": True})
    first.assign(user, "core", "guarded")
    deadline = time.monotonic() + 5
    while there("/api/v1/users", headers=at_second).status_code != 403:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    enrolled(first, user)
    while there("/api/v1/users", headers=at_second).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_admin_without_its_factor_registers_no_users(make_server):
    server = make_server(
        {"plugins": {"auth": {"second_factor": "admins", "registration": "first-user"}}}
    )
    body = {"username": "bob", "password": PASSWORD}
    answer = server.admin.post("/api/v1/auth/register", json=body)
    assert (answer.status_code, answer.json()) == (403, DEMANDED)


def test_session_of_another_plugin_needs_no_factor(make_server):
    """Its provider is responsible for that."""
    import msgspec

    from kernel.public import SESSIONS, Actor

    server = make_server({"plugins": {"auth": {"second_factor": "required"}}})
    begun = server.run(server.services.get(SESSIONS).begin, server.admin.id, Actor(user_id=None))
    headers = {"authorization": f"Bearer {msgspec.json.decode(begun)['accessToken']}"}
    assert server.http.get("/api/v1/users", headers=headers).status_code == 200
    demands(server.admin, DEMANDED)


# --- passwords that an admin has set

CHANGE = {"error": "password change required"}


def test_password_that_an_admin_has_set_must_be_changed(server):
    user = server.user()
    path = f"/api/v1/users/{user.id}"
    assert server.admin.patch(path, json={"password": OTHER}).status_code == 200
    user = server.login(user.username, OTHER)
    demands(user, CHANGE)
    change = "/api/v1/auth/password"
    same = user.post(change, json={"current": OTHER, "new": OTHER})
    assert (same.status_code, "another" in same.json()["error"]) == (400, True)
    demands(user, CHANGE)
    assert user.post(change, json={"current": OTHER, "new": PASSWORD}).status_code == 200
    meets(user)
    meets(server.login(user.username))


def test_password_of_a_registration_that_only_an_admin_may_make_must_be_changed(make_server):
    body = {"username": "by-admin", "password": PASSWORD}
    closed = make_server({"plugins": {"auth": {"registration": "first-user"}}})
    assert closed.admin.post("/api/v1/auth/register", json=body).status_code == 201
    user = closed.login("by-admin")
    demands(user, CHANGE)
    assert logged_out(closed, user) == 200


def test_password_of_an_open_registration_stays_whatever_token_is_sent(server):
    body = {"username": f"by-admin-{time.monotonic_ns()}", "password": PASSWORD}
    assert server.admin.post("/api/v1/auth/register", json=body).status_code == 201
    meets(server.login(body["username"]))


def test_password_that_an_admin_has_chosen_for_itself_stays(make_server):
    server = make_server()
    admin = server.admin
    path = f"/api/v1/users/{admin.id}"
    assert admin.patch(path, json={"password": OTHER}).status_code == 200
    meets(server.login(admin.username, OTHER))


def test_login_with_outdated_parameters_keeps_the_demand(server, monkeypatch):
    user = server.user()
    assert (
        server.admin.patch(f"/api/v1/users/{user.id}", json={"password": OTHER}).status_code == 200
    )
    hasher = server.services.get(AUTH).logins._hasher
    monkeypatch.setattr(hasher, "is_outdated", lambda _: True)
    demands(server.login(user.username, OTHER), CHANGE)


def test_factor_may_be_set_up_before_the_password_is_changed(server):
    user = server.user()
    assert (
        server.admin.patch(f"/api/v1/users/{user.id}", json={"password": OTHER}).status_code == 200
    )
    user = enrolled(server, server.login(user.username, OTHER))
    demands(user, CHANGE)
