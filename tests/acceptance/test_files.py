"""Files of apps, as clients meet them."""

import base64
import csv
import hashlib
import uuid

import pytest

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n"
APP = "/api/v1/apps/desk"
TICKETS = f"{APP}/collections/tickets"
PEOPLE = f"{APP}/collections/people"
FILES = f"{APP}/files"
DESK = {
    "appId": "desk",
    "name": "Desk",
    "dataContract": [
        {
            "entityName": "people",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "photo", "type": "file", "types": ["image/*"], "maxSize": "1kB"},
                {"name": "note", "type": "file"},
                {"name": "seen", "type": "timestamp"},
            ],
        },
        {
            "entityName": "tickets",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "contract", "type": "file", "maxSize": "20MB"},
                {"name": "attachments", "type": "[file]", "maxSize": "20MB"},
                {"name": "opened", "type": "timestamp"},
                {
                    "name": "person_id",
                    "type": "entity_link",
                    "references": {"entity": "people"},
                    "on_delete": "cascade",
                },
                {"name": "secret", "type": "file", "maxSize": 5000, "access": {"read": "boss"}},
            ],
            "indexes": [{"columns": ["title"], "unique": True}],
        },
        {"entityName": "plain", "fields": [{"name": "title", "type": "text"}]},
    ],
}
WRITER = {
    "name": "writer",
    "permissions": [f"{entity}.{action}" for entity in ("people", "tickets", "plain")
                    for action in ("create", "read", "update", "delete")],
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(server):
    assert server.admin.post("/api/v1/apps", json=DESK).status_code == 200
    assert server.admin.post(f"{APP}/roles", json=WRITER).status_code == 200
    own = [f"tickets.{action}.own" for action in ("read", "update", "delete")]
    own += ["tickets.create", "people.create", "people.read.own"]
    role = {"name": "loner", "permissions": own}
    assert server.admin.post(f"{APP}/roles", json=role).status_code == 200
    boss = {"name": "boss", "permissions": ["tickets.secret.read"]}
    assert server.admin.post(f"{APP}/roles", json=boss).status_code == 200
    return server


@pytest.fixture
def admin(desk):
    desk.sql("truncate desk.tickets, desk.people, desk.plain")
    desk.sql("delete from caudex_files.files")
    return desk.admin


def user(desk, *roles):
    client = desk.user(f"u{uuid.uuid4().hex[:12]}")
    desk.assign(client, "desk", *(roles or ("writer",)))
    return client


def upload(client, content=PDF, name="a.pdf", path=FILES):
    answer = client.post(path, params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()


def create(client, path=TICKETS, **values):
    default = {"name": "Ada"} if path == PEOPLE else {"title": f"T{uuid.uuid4()}"}
    answer = client.post(path, json={**default, **values})
    assert answer.status_code == 201, answer.text
    return answer.json()


def shown(file):
    return {name: file[name] for name in ("id", "name", "type", "size")}


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


def test_a_file_is_sent_put_into_a_record_and_read_again(admin):
    file = upload(admin)
    assert list(file) == ["id", "name", "type", "size", "sha256", "created_at"]
    assert file["type"] == "application/pdf"
    assert file["size"] == len(PDF)
    assert file["sha256"] == hashlib.sha256(PDF).hexdigest()

    ticket = create(admin, contract=file["id"])
    assert ticket["contract"] == shown(file)
    assert admin.get(f"{TICKETS}/{ticket['id']}").json() == ticket
    assert admin.get(TICKETS).json() == [ticket]
    answer = admin.get(f"{FILES}/{file['id']}")
    assert answer.content == PDF
    assert answer.headers["content-type"] == "application/pdf"


def test_writes_take_the_object_or_the_id(admin):
    file = upload(admin)
    ticket = create(admin, contract=shown(file))
    assert ticket["contract"] == shown(file)
    path = f"{TICKETS}/{ticket['id']}"
    assert admin.patch(path, json=ticket).json()["contract"] == shown(file)
    other = upload(admin, PNG, "b.png")
    changed = admin.patch(path, json={"contract": other["id"].upper()}).json()
    assert changed["contract"] == shown(other)
    assert admin.patch(path, json={"contract": None}).json()["contract"] is None
    for bad in (5, {"id": 5}, {}, "x", ["x"], True, {"name": "a.pdf"}):
        refused(admin.patch(path, json={"contract": bad}), 400, "tickets.contract", "a file")


def test_lists_of_files_keep_their_order(admin):
    files = [upload(admin, PDF + bytes([number]), f"{number}.pdf") for number in range(3)]
    ids = [file["id"] for file in reversed(files)]
    ticket = create(admin, attachments=ids)
    assert [file["id"] for file in ticket["attachments"]] == ids
    assert ticket["attachments"][0] == shown(files[2])
    assert create(admin, attachments=[])["attachments"] == []
    assert create(admin)["attachments"] is None
    refused(admin.post(TICKETS, json={"title": "x", "attachments": [None]}), 400, "attachments")
    refused(admin.post(TICKETS, json={"title": "x", "attachments": ids[0]}), 400, "attachments")


def test_a_file_field_that_declares_nothing_is_text(admin):
    person = create(admin, PEOPLE, note="anything at all")
    assert person["note"] == "anything at all"


def test_the_field_says_which_types_and_sizes_it_takes(admin):
    pdf = upload(admin)
    refused(
        admin.post(PEOPLE, json={"name": "A", "photo": pdf["id"]}), 400, "people.photo", "image/*"
    )
    large = upload(admin, PNG + bytes(1000), "large.png")
    refused(admin.post(PEOPLE, json={"name": "A", "photo": large["id"]}), 400, "photo", "1000")
    fine = upload(admin, PNG, "fine.png")
    assert create(admin, PEOPLE, photo=fine["id"])["photo"] == shown(fine)
    unknown = str(uuid.uuid4())
    refused(admin.post(PEOPLE, json={"name": "A", "photo": unknown}), 400, "photo", "no such file")


def test_an_id_of_another_user_that_no_record_shows_is_refused_like_an_unknown_one(desk, admin):
    alice = user(desk)
    bob = user(desk, "loner")
    file = upload(alice)
    answers = [
        bob.post(TICKETS, json={"title": str(uuid.uuid4()), "contract": file_id})
        for file_id in (file["id"], str(uuid.uuid4()))
    ]
    assert {answer.text for answer in answers} == {'{"error":"tickets.contract: no such file"}'}
    bulk = bob.post(
        f"{TICKETS}/bulk", json=[{"title": "one"}, {"title": "two", "attachments": [file["id"]]}]
    )
    refused(bulk, 400, "[1] tickets.attachments: no such file")
    batch = {
        "operations": [
            {"op": "create", "entity": "tickets", "data": {"title": "x", "contract": file["id"]}}
        ]
    }
    refused(bob.post(f"{APP}/batch", json=batch), 400, "[0] tickets.contract: no such file")

    ticket = create(alice, contract=file["id"])
    refused(bob.get(f"{FILES}/{file['id']}"), 404)
    refused(bob.post(TICKETS, json={"title": "x", "contract": file["id"]}), 400, "no such file")
    carol = user(desk)
    assert carol.get(f"{FILES}/{file['id']}").content == PDF
    assert create(carol, contract=file["id"])["contract"] == ticket["contract"]


def test_who_uploaded_a_file_reads_it_until_a_record_holds_it(desk, admin):
    loner = user(desk, "loner")
    writer = user(desk)
    file = upload(loner)
    assert loner.get(f"{FILES}/{file['id']}").status_code == 200
    refused(writer.get(f"{FILES}/{file['id']}"), 404)
    refused(admin.get(f"{FILES}/{file['id']}"), 404)
    ticket = create(loner, contract=file["id"])
    assert writer.get(f"{FILES}/{file['id']}").status_code == 200
    assert loner.get(f"{FILES}/{file['id']}").status_code == 200
    assert admin.delete(f"{TICKETS}/{ticket['id']}").status_code == 200
    refused(loner.get(f"{FILES}/{file['id']}"), 404)
    refused(writer.get(f"{FILES}/{file['id']}"), 404)


def test_a_field_with_rules_of_its_own_shows_its_file_to_who_may_read_it(desk, admin):
    boss = user(desk, "writer", "boss")
    writer = user(desk)
    file = upload(boss)
    ticket = create(boss, secret=file["id"])
    assert ticket["secret"] == shown(file)
    assert "secret" not in writer.get(f"{TICKETS}/{ticket['id']}").json()
    refused(writer.get(f"{FILES}/{file['id']}"), 404)
    assert boss.get(f"{FILES}/{file['id']}").status_code == 200
    refused(writer.post(TICKETS, json={"title": "x", "contract": file["id"]}), 400, "no such file")


@pytest.mark.parametrize("method", ["bulk", "batch", "upsert", "import", "query"])
def test_every_way_to_write_holds_and_releases_files(desk, admin, method):
    file = upload(admin)
    row = {"title": "row", "contract": file["id"], "attachments": [file["id"]]}
    if method == "bulk":
        answer = admin.post(f"{TICKETS}/bulk", json=[row, {"title": "other"}])
    elif method == "batch":
        operation = {"op": "create", "entity": "tickets", "data": row, "as": "a"}
        update = {
            "op": "update",
            "entity": "tickets",
            "id": {"$ref": "a.id"},
            "data": {"contract": {"$ref": "a.contract"}},
        }
        answer = admin.post(f"{APP}/batch", json={"operations": [operation, update]})
    elif method == "upsert":
        answer = admin.post(f"{TICKETS}/bulk?on=title", json=[row])
        answer = admin.post(f"{TICKETS}/bulk?on=title", json=[row])
    elif method == "import":
        text = f'title,contract,attachments\r\nrow,{file["id"]},"[""{file["id"]}""]"\r\n'
        answer = admin.post(f"{TICKETS}/import", content=text, headers={"content-type": "text/csv"})
        assert answer.json()["created"] == 1, answer.text
    else:
        create(admin, title="row")
        change = {
            "where": {"title": "row"},
            "set": {"contract": file["id"], "attachments": [file["id"]]},
            "expect": 1,
        }
        answer = admin.post(f"{TICKETS}/update-where", json=change)
    assert answer.status_code in (200, 201), answer.text

    [ticket] = admin.get(TICKETS, params={"title": "row"}).json()
    assert ticket["contract"] == shown(file)
    assert ticket["attachments"] == [shown(file)]
    assert held(desk, file) == [("tickets", "attachments", False), ("tickets", "contract", False)]
    delete = {"where": {"title": "row"}, "expect": 1}
    assert admin.post(f"{TICKETS}/delete-where", json=delete).status_code == 200
    assert held(desk, file) == [("tickets", "attachments", True), ("tickets", "contract", True)]


def held(desk, file):
    """The fields that hold a file, or held it: whether that has ended."""
    return desk.sql(
        "select entity, field, ended_at is not null from caudex_files.holdings"
        " where file_id = %s order by 1, 2",
        file["id"],
    )


def test_a_cascade_releases_files_too(desk, admin):
    person = create(admin, PEOPLE)
    file = upload(admin)
    create(admin, contract=file["id"], person_id=person["id"])
    assert admin.delete(f"{PEOPLE}/{person['id']}").status_code == 200
    assert held(desk, file) == [("tickets", "contract", True)]


def test_filters_are_by_id(admin):
    first = upload(admin)
    second = upload(admin, PNG, "b.png")
    ticket = create(admin, contract=first["id"], attachments=[first["id"], second["id"]])
    bare = create(admin)

    def found(where):
        answer = admin.post(f"{TICKETS}/query", json={"where": where})
        assert answer.status_code == 200, answer.text
        return {record["id"] for record in answer.json()["data"]}

    assert found({"contract": first["id"]}) == {ticket["id"]}
    assert found({"contract": {"$eq": second["id"]}}) == set()
    assert found({"contract": {"$in": [first["id"], second["id"]]}}) == {ticket["id"]}
    assert found({"contract": {"$isNull": True}}) == {bare["id"]}
    assert found({"contract": None}) == {bare["id"]}
    assert found({"attachments": second["id"]}) == {ticket["id"]}
    assert found({"attachments": {"$in": [second["id"]]}}) == {ticket["id"]}
    assert found({"attachments": {"$isNull": False}}) == {ticket["id"]}
    assert found({"$not": {"contract": first["id"]}}) == set()
    for field in ("contract", "attachments"):
        for operator, value in (("$ne", first["id"]), ("$gt", first["id"]), ("$nin", []),
                                ("$like", "%"), ("$contains", [first["id"]])):  # fmt: skip
            answer = admin.post(f"{TICKETS}/query", json={"where": {field: {operator: value}}})
            refused(answer, 400, operator)
    assert admin.get(TICKETS, params={"contract": first["id"]}).json() == [ticket]


def test_csv_has_ids_and_takes_them_back(admin):
    file = upload(admin, PDF, "=1+1.pdf")
    create(admin, title="csv", contract=file["id"], attachments=[file["id"]])
    text = admin.get(TICKETS, headers={"accept": "text/csv"}).text
    [row] = [row for row in csv.DictReader(text.splitlines()) if row["title"] == "csv"]
    assert (row["contract"], row["attachments"]) == (file["id"], f'["{file["id"]}"]')
    answer = admin.post(
        f"{TICKETS}/import?on=title", content=text, headers={"content-type": "text/csv"}
    )
    assert answer.json()["updated"] == 1, answer.text
    lines = admin.get(TICKETS, headers={"accept": "application/x-ndjson"}).text
    answer = admin.post(
        f"{TICKETS}/import?on=title",
        content=lines,
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.json()["updated"] == 1, answer.text


def test_files_are_shown_in_linked_records_with_fields_and_names_that_look_like_times(admin):
    file = upload(admin, PNG, 'x+00:00","opened":.png')
    person = create(admin, PEOPLE, photo=file["id"], seen="2026-01-01T00:00:00Z")
    assert person["photo"] == shown(file)
    assert person["seen"] == "2026-01-01T00:00:00Z"
    ticket = create(admin, person_id=person["id"], opened="2026-01-02T00:00:00Z")
    answer = admin.get(f"{TICKETS}/{ticket['id']}", params={"expand": "person_id"}).json()
    assert answer["expand"]["person_id"] == person
    options = [{"tickets_via_person_id": {"fields": ["contract", "opened"]}}]
    body = {"fields": ["photo"], "expand": options}
    [shown_person] = admin.post(f"{PEOPLE}/query", json=body).json()["data"]
    assert shown_person["photo"] == shown(file)
    [linked] = shown_person["expand"]["tickets_via_person_id"]
    assert linked == {"id": ticket["id"], "contract": None, "opened": "2026-01-02T00:00:00Z"}
    groups = {"groupBy": ["photo"], "aggregate": {"n": {"$count": "photo"}}}
    answer = admin.post(f"{PEOPLE}/query", json=groups)
    assert answer.json()["data"] == [{"photo": file["id"], "n": 1}]


def test_ranges_and_validators_are_those_of_a_web_server(admin):
    content = bytes(range(256)) * 40
    file = upload(admin, content, "data.bin")
    path = f"{FILES}/{file['id']}"
    whole = admin.get(path)
    etag = whole.headers["etag"]
    assert whole.content == content
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "application/octet-stream"
    head = admin.head(path)
    assert head.headers["content-length"] == str(len(content))
    assert head.content == b""
    for header, start, end in (
        ("bytes=0-9", 0, 10), ("bytes=100-", 100, len(content)),
        ("bytes=-5", len(content) - 5, None), ("bytes=10-999999", 10, None),
    ):  # fmt: skip
        answer = admin.get(path, headers={"range": header})
        assert answer.status_code == 206
        assert answer.content == content[start:end]
        last = (end or len(content)) - 1
        assert answer.headers["content-range"] == f"bytes {start}-{last}/{len(content)}"
    for header in ("bytes=0-1,4-5", "lines=1-2", "bytes=5-1", "bytes=-", "bytes=x"):
        assert admin.get(path, headers={"range": header}).status_code == 200
    for header in (f"bytes={len(content)}-", "bytes=-0"):
        answer = admin.get(path, headers={"range": header})
        refused(answer, 416)
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
    both = {"range": "bytes=0-3", "if-range": etag}
    assert admin.get(path, headers=both).status_code == 206
    assert admin.get(path, headers=both | {"if-range": '"other"'}).content == content
    same = admin.get(path, headers={"if-none-match": etag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert admin.get(path, headers={"if-none-match": '"x", W/' + etag}).status_code == 304


@pytest.mark.parametrize(
    ("name", "content", "media_type", "inline", "policy"),
    [
        ("a.png", PNG, "image/png", True, "sandbox; default-src 'none'"),
        ("a.pdf", PDF, "application/pdf", True,
         "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"),
        ("a.mp3", b"ID3\x03" + bytes(100), "audio/mpeg", True,
         "default-src 'none'; media-src 'self'"),
        ("a.txt", b"hello", "text/plain; charset=utf-8", True, "sandbox; default-src 'none'"),
        ("a.html", b"<script>alert(1)</script>", "text/html; charset=utf-8", False,
         "sandbox; default-src 'none'"),
        ("a.svg", b"<svg onload='alert(1)'/>", "image/svg+xml", False,
         "sandbox; default-src 'none'"),
        ("a.png", b"<script>alert(1)</script>", "text/plain; charset=utf-8", True,
         "sandbox; default-src 'none'"),
        ("a.js", b"alert(1)", "text/javascript; charset=utf-8", False,
         "sandbox; default-src 'none'"),
        ("a.exe", b"MZ\x90\0" + bytes(100), "application/x-msdownload", False,
         "sandbox; default-src 'none'"),
        ("a", b"", "text/plain; charset=utf-8", True, "sandbox; default-src 'none'"),
    ],
)  # fmt: skip
def test_no_file_runs_with_a_token_in_reach(admin, name, content, media_type, inline, policy):
    file = upload(admin, content, name)
    assert file["size"] == len(content)
    answer = admin.get(f"{FILES}/{file['id']}")
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == policy
    kind = "inline" if inline else "attachment"
    assert answer.headers["content-disposition"] == f'{kind}; filename="{name}"'
    answer = admin.get(f"{FILES}/{file['id']}", params={"download": "1"})
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\Users\\me\\a.pdf", "a.pdf"), ("a\nb.pdf", "ab.pdf"),
        ("", "file"), ("..", "file"), ("/", "file"), ("x" * 400 + ".pdf", "x" * 251 + ".pdf"),
        ("\u202egpj.exe", "gpj.exe"), (" a.pdf ", "a.pdf"),
        ("Vertr\u00e4ge.pdf", "Vertr\u00e4ge.pdf"),
    ],
)  # fmt: skip
def test_a_name_is_the_last_part_of_a_path(admin, sent, name):
    assert upload(admin, PDF, sent)["name"] == name


def test_a_name_beyond_ascii_and_with_quotes_is_safe_in_a_header(admin):
    file = upload(admin, PDF, 'a"; x=\u00e4;.pdf')
    answer = admin.get(f"{FILES}/{file['id']}")
    assert answer.headers["content-disposition"] == (
        "inline; filename=\"a_; x=_;.pdf\"; filename*=UTF-8''a%22%3B%20x%3D%C3%A4%3B.pdf"
    )


def test_a_form_brings_a_file_too(admin):
    answer = admin.post(FILES, files={"file": ("c.pdf", PDF, "image/png")}, data={"a": "b"})
    assert answer.status_code == 201, answer.text
    file = answer.json()
    assert (file["name"], file["type"], file["size"]) == ("c.pdf", "application/pdf", len(PDF))
    assert admin.get(f"{FILES}/{file['id']}").content == PDF
    refused(admin.post(FILES, files={"other": (None, "text")}), 400, "no part 'file'")
    cut = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    refused(admin.post(FILES, content=cut, headers=headers), 400, "cut off")
    headers = {"content-type": "multipart/form-data"}
    refused(admin.post(FILES, content=cut, headers=headers), 400, "boundary")


def test_only_who_writes_records_with_files_sends_them(desk, admin):
    desk.admin.post(f"{APP}/roles", json={"name": "reader", "permissions": ["tickets.read"]})
    reader = user(desk, "reader")
    refused(reader.post(FILES, content=PDF), 403)
    refused(reader.post(f"{APP}/storage/upload", content=PDF), 403)
    refused(desk.user().post(FILES, content=PDF), 403)
    refused(admin.post("/api/v1/apps/none/files", content=PDF), 404)
    refused(admin.post(FILES, params={"nam": "a"}, content=PDF), 400, "nam")
    desk.admin.post(f"{APP}/roles", json={"name": "plainer", "permissions": ["plain.create"]})
    plainer = user(desk, "plainer")
    refused(plainer.post(FILES, content=PDF), 403)
    assert plainer.post(f"{APP}/storage/upload", content=PDF).status_code == 201


def make_link(client, file, **body):
    answer = client.post(f"{FILES}/{file['id']}/link", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["url"]


def test_a_link_is_good_without_a_token(desk, admin):
    file = upload(admin)
    url = make_link(admin, file, seconds=60)
    assert url.startswith(f"{desk.url}{FILES}/{file['id']}/link?token=")
    answer = desk.http.get(url)
    assert answer.content == PDF
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert desk.http.head(url).headers["content-length"] == str(len(PDF))
    assert desk.http.get(url, headers={"range": "bytes=0-3"}).content == PDF[:4]
    assert "attachment" in desk.http.get(f"{url}&download=1").headers["content-disposition"]
    assert desk.http.get(make_link(admin, file, seconds=10**9)).status_code == 200
    for seconds in (0, -1):
        refused(admin.post(f"{FILES}/{file['id']}/link", json={"seconds": seconds}), 400)
    refused(admin.post(f"{FILES}/{uuid.uuid4()}/link", json={}), 404)


def test_a_link_has_the_scheme_of_the_page_that_asks_for_it(desk, admin):
    file = upload(admin)
    host = desk.url.partition("//")[2]
    path = f"{FILES}/{file['id']}/link"
    for origin, scheme in ((f"https://{host}", "https"), ("https://other.example", "http")):
        answer = admin.post(path, json={}, headers={"origin": origin})
        assert answer.json()["url"].startswith(f"{scheme}://{host}/api/")


def test_rows_of_an_import_are_refused_one_by_one(admin):
    file = upload(admin)
    unknown = str(uuid.uuid4())
    text = f"title,contract\r\na,{file['id']}\r\nb,{unknown}\r\nc,nonsense\r\n"
    answer = admin.post(
        f"{TICKETS}/import?mode=valid", content=text, headers={"content-type": "text/csv"}
    )
    report = answer.json()
    assert (report["rows"], report["created"]) == (3, 1)
    assert [(error["row"], error["field"], error["error"]) for error in report["errors"]] == [
        (2, "contract", "tickets.contract: no such file"),
        (3, "contract", 'tickets.contract: a file, or its id, is wanted, not "nonsense"'),
    ]


def test_a_forged_link_is_refused(desk, admin):
    file = upload(admin)
    other = upload(admin, PNG)
    url = make_link(admin, file)
    for forged in (
        url[:-4] + "AAAA", url.partition("?")[0], url.replace(file["id"], other["id"]),
        url.replace("/desk/", "/other/"), url + "x", url.partition("token=")[0] + "token=x.y.z",
    ):  # fmt: skip
        refused(desk.http.get(forged), 403)


def test_a_link_ends_with_the_right_of_who_made_it(desk, admin):
    writer = user(desk)
    file = upload(admin)
    ticket = create(admin, contract=file["id"])
    url = make_link(writer, file, seconds=600)
    assert desk.http.get(url).status_code == 200
    revoke = {"userId": writer.id, "role": "writer"}
    assert admin.post(f"{APP}/roles/revoke", json=revoke).status_code == 200
    refused(desk.http.get(url), 403)
    desk.assign(writer, "desk", "writer")
    assert desk.http.get(url).status_code == 200
    assert admin.patch(f"{TICKETS}/{ticket['id']}", json={"contract": None}).status_code == 200
    refused(desk.http.get(url), 403)
    again = create(admin, contract=upload(admin, PNG)["id"])
    url = make_link(writer, again["contract"], seconds=600)
    assert desk.http.get(url).status_code == 200
    disable = admin.patch(f"/api/v1/users/{writer.id}", json={"disabled": True})
    assert disable.status_code == 200, disable.text
    refused(desk.http.get(url), 403)


def test_keys_narrow_files_as_records(desk, admin):
    writer = user(desk)
    file = upload(writer)
    create(writer, contract=file["id"])

    def key_of(*permissions):
        body = {"name": "k", "permissions": list(permissions)}
        key = writer.post("/api/v1/auth/keys", json=body).json()
        return key["id"], {"authorization": f"Bearer {key['key']}"}

    key_id, reads = key_of("desk:tickets.read")
    assert desk.http.get(f"{FILES}/{file['id']}", headers=reads).content == PDF
    refused(desk.http.post(FILES, content=PDF, headers=reads), 403)
    _, other = key_of("desk:people.read")
    refused(desk.http.get(f"{FILES}/{file['id']}", headers=other), 404)
    _, writes = key_of("desk:tickets.create")
    answer = desk.http.post(FILES, content=PNG, headers=writes)
    assert answer.status_code == 201
    mine = answer.json()
    body = {"title": "by key", "contract": mine["id"]}
    assert desk.http.post(TICKETS, json=body, headers=writes).status_code == 201
    body = {"title": "by key 2", "contract": file["id"]}
    assert desk.http.post(TICKETS, json=body, headers=writes).status_code == 201  # its own upload

    link = desk.http.post(f"{FILES}/{file['id']}/link", json={"seconds": 600}, headers=reads)
    url = link.json()["url"]
    assert desk.http.get(url).content == PDF
    assert writer.delete(f"/api/v1/auth/keys/{key_id}").status_code == 200
    refused(desk.http.get(url), 403)


def test_the_shape_that_existing_frontends_use(desk, admin):
    writer = user(desk)
    other = user(desk, "loner")
    answer = writer.post(f"{APP}/storage/upload", files={"file": ("a.pdf", PDF)})
    assert answer.status_code == 201
    stored = answer.json()
    assert stored == {
        "file_id": stored["file_id"], "name": "a.pdf", "content_type": "application/pdf",
        "size": len(PDF),
    }  # fmt: skip
    path = f"{APP}/storage/{stored['file_id']}"
    assert other.get(path).content == PDF
    refused(desk.user().get(path), 403)
    ticket = create(other, contract=stored["file_id"])
    refused(other.delete(path), 403)
    assert writer.delete(path).json() == {"deleted": True}
    assert other.get(f"{FILES}/{ticket['contract']['id']}").content == PDF
    pending = upload(writer)
    assert writer.delete(f"{APP}/storage/{pending['id']}").json() == {"deleted": True}
    refused(writer.get(f"{FILES}/{pending['id']}"), 404)
    only_held = create(writer, contract=upload(writer)["id"])
    refused(writer.delete(f"{APP}/storage/{only_held['contract']['id']}"), 404, "by records alone")
    unused = writer.post(f"{APP}/storage/upload", content=PDF).json()
    path = f"{APP}/storage/{unused['file_id']}"
    assert admin.delete(path).json() == {"deleted": True}
    refused(admin.get(path), 404)
    refused(writer.delete(path), 404)


def sweep(desk):
    from plugins.files.keeping.sweep import SWEEP

    desk.run(lambda: desk.services.get(SWEEP).run(0.0))


def test_what_no_record_holds_is_swept_after_a_day(desk, admin):
    young = upload(admin)
    old = upload(admin, PNG)
    kept = upload(admin, PNG + b"kept")
    of_app = admin.post(f"{APP}/storage/upload", content=b"of the app").json()
    create(admin, contract=kept["id"])
    desk.sql("update caudex_files.files set created_at = now() - interval '25 hours'"
             " where id <> %s", young["id"])  # fmt: skip
    sweep(desk)
    refused(admin.get(f"{FILES}/{old['id']}"), 404)
    for file_id in (young["id"], kept["id"], of_app["file_id"]):
        assert admin.get(f"{FILES}/{file_id}").status_code == 200
    sweep(desk)
    [(count,)] = desk.sql(
        "select count(*) from caudex_files.blobs where sha256 = %s", old["sha256"]
    )
    assert count == 0
    refused(admin.post(TICKETS, json={"title": "x", "contract": old["id"]}), 400, "no such file")
    assert upload(admin, PNG)["sha256"] == old["sha256"]


def test_what_the_last_record_gave_up_stays_as_long_as_an_undo_may_need_it(desk, admin):
    file = upload(admin)
    ticket = create(admin, contract=file["id"])
    assert admin.delete(f"{TICKETS}/{ticket['id']}").status_code == 200
    desk.sql("update caudex_files.files set created_at = now() - interval '95 days'")
    sweep(desk)
    # The server itself acts without a user's rights, as an undo does.
    [(count,)] = desk.sql("select count(*) from caudex_files.files where id = %s", file["id"])
    assert count == 1
    create(admin, contract=file["id"])
    desk.sql("update caudex_files.holdings set ended_at = now() - interval '91 days'"
             " where ended_at is not null")  # fmt: skip
    sweep(desk)
    assert admin.get(f"{FILES}/{file['id']}").status_code == 200
    desk.sql("truncate desk.tickets cascade")
    desk.sql("update caudex_files.holdings set ended_at = now() - interval '91 days'")
    sweep(desk)
    assert not desk.sql("select 1 from caudex_files.files where id = %s", file["id"])


def test_sql_of_a_worker_is_followed_too(desk, admin):
    file = upload(admin)
    desk.sql("insert into desk.tickets (title, contract) values ('by hand', %s)", file["id"])
    assert held(desk, file) == [("tickets", "contract", False)]
    desk.sql("update desk.tickets set contract = null")
    assert held(desk, file) == [("tickets", "contract", True)]
    with pytest.raises(Exception, match="no such file"):
        desk.sql("insert into desk.tickets (title, contract) values ('x', gen_random_uuid())")
