"""Records out and in as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.testing import Client, Server
from tests.plugins.data.shop import COMPANIES, CONTACTS, DEALS, ODD, add, empty, holding, query
from tests.plugins.data.support import refused

CSV, NDJSON = "text/csv", "application/x-ndjson"


@pytest.fixture
def admin(shop: Server) -> Client:
    empty(shop)
    return shop.admin


def exported(client: Client, path: str, kind: str = CSV, **params: Any) -> str:
    answer = client.get(path, params=params, headers={"accept": kind})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(kind)
    return answer.content.decode()


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def imported(
    client: Client, path: str, body: str | bytes, kind: str = CSV, **params: Any
) -> httpx.Response:
    raw = body if isinstance(body, bytes) else body.encode()
    return client.post(f"{path}/import", content=raw, params=params, headers={"content-type": kind})


def report(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv;q=0.1, application/json", "application/json"),
        ("text/csv;q=0.1, application/json;q=0.2", "application/json"),
        ("application/json;q=0.1, text/csv;q=0.2", CSV),
        ("text/csv;q=0, application/x-ndjson;q=0.001", NDJSON),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/*", CSV),
        ("image/png", "application/json"),
    ],
)
def test_a_reply_has_the_format_of_the_most_weight(admin: Client, accept: str, kind: str):
    add(admin, DEALS, title="first")
    headers = {"accept": accept}
    answers = [
        admin.get(DEALS, headers=headers),
        admin.get(DEALS, params={"limit": 1}, headers=headers),
        admin.post(f"{DEALS}/query", json={}, headers=headers),
        admin.post(f"{DEALS}/query", json={"groupBy": ["title"]}, headers=headers),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].partition(";")[0] == kind


def test_lists_and_queries_are_exported(admin: Client):
    deal = add(admin, DEALS, title='a "b", c\nd', value=-1.5, details={"a": 9007199254740993.0},
               closed_on="2026-01-02", won_at="2026-01-02T03:04:05Z")  # fmt: skip
    add(admin, DEALS, title="second", value=1e300)
    header, *rows = rows_of(exported(admin, DEALS, order="asc"))
    assert header == list(deal)
    assert len(rows) == 2
    first = dict(zip(header, rows[0], strict=True))
    assert first["title"] == deal["title"]
    assert (first["value"], first["closed_on"], first["won_at"]) == (
        "-1.5", "2026-01-02", "2026-01-02T03:04:05Z",
    )  # fmt: skip
    assert (first["note"], first["created_at"]) == ("", deal["created_at"])
    assert rows_of(exported(admin, DEALS, fields="title", limit=1, sort="value", order="asc")) == [
        ["id", "title"], [deal["id"], deal["title"]],
    ]  # fmt: skip
    lines = exported(admin, DEALS, NDJSON, order="asc").splitlines()
    assert json.loads(lines[0]) == deal
    answer = admin.post(
        f"{DEALS}/query", json={"where": {"value": -1.5}, "expand": ["contact_id"]},
        headers={"accept": NDJSON},
    )  # fmt: skip
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {**deal, "expand": {"contact_id": None}}
    ]
    answer = admin.post(f"{DEALS}/query", json={"where": {"value": 5}}, headers={"accept": CSV})
    assert rows_of(answer.text) == [list(deal)]
    assert answer.headers["content-disposition"] == 'attachment; filename="deals.csv"'
    refused(admin.get(DEALS, params={"expand": "contact_id"}, headers={"accept": CSV}))
    assert exported(admin, CONTACTS, NDJSON) == ""


def test_formulas_are_escaped_and_come_back(admin: Client):
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=1", "''@", "'plain", "plain"]
    for text in texts:
        add(admin, DEALS, title=text, value=-1)
    cells = [row[1] for row in rows_of(exported(admin, DEALS, fields="title", order="asc"))[1:]]
    assert cells == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@x",
        "'\tx",
        "'\rx",
        "''=1",
        "'''@",
        "'plain",
        "plain",
    ]
    numbers = rows_of(exported(admin, DEALS, fields="value"))[1:]
    assert {row[1] for row in numbers} == {"-1"}
    raw = exported(admin, DEALS, fields="title", order="asc", raw="true")
    assert [row[1] for row in rows_of(raw)[1:]] == texts
    whole, plain = exported(admin, DEALS, order="asc"), exported(admin, DEALS, raw="true")
    admin.post(f"{DEALS}/delete-where", json={"where": {}, "expect": len(texts)})
    report(imported(admin, DEALS, whole))
    assert sorted(each["title"] for each in admin.get(DEALS).json()) == sorted(texts)
    report(imported(admin, DEALS, plain, raw="true"))
    assert query(admin, DEALS)["total"] == 2 * len(texts)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("Zürich; a 'b' \\ %_", "Zürich; a 'b' \\ %_"),
        ("a,b", '"a,b"'),
        ('a"b', '"a""b"'),
        ("a\nb", '"a\nb"'),
        ("a\rb", '"a\rb"'),
        ("'quoted'", "'quoted'"),
        ("''=a,b", "\"'''=a,b\""),
        ("1-2", "1-2"),
        ("-1", "'-1"),
        ("", ""),
    ],
)
def test_a_text_is_in_quotes_where_it_needs_them(admin: Client, text: str, cell: str):
    deal = add(admin, DEALS, title=text)
    whole = exported(admin, DEALS, fields="title,value")
    assert whole == f"id,title,value\r\n{deal['id']},{cell},\r\n"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ({"a": 'x, "y"'}, '"{""a"": ""x, \\""y\\""""}"'),
        ([1, 2], '"[1, 2]"'),
        ("=text", '"""=text"""'),
        (1.5, "1.5"),
        (True, "true"),
        (None, ""),
    ],
)
def test_json_is_in_quotes_where_it_needs_them(admin: Client, value: Any, cell: str):
    deal = add(admin, DEALS, details=value)
    whole = exported(admin, DEALS, fields="details")
    assert whole == f"id,details\r\n{deal['id']},{cell}\r\n"


def test_exactly_what_the_caller_sees_is_exported(shop: Server, admin: Client):
    owner = holding(shop, "deals.read.own", "deals.create")
    add(admin, DEALS, title="theirs")
    add(owner, DEALS, title="mine")
    assert [row[1] for row in rows_of(exported(owner, DEALS, fields="title"))] == ["title", "mine"]
    blind = holding(shop, "deals.create")
    refused(blind.get(DEALS, headers={"accept": CSV}), 403)


def test_a_field_called_raw_is_a_filter(admin: Client):
    add(admin, ODD, raw="true", fields="=x")
    add(admin, ODD, raw="false")
    assert len(rows_of(exported(admin, ODD, raw="true"))) == 2
    answer = admin.post(f"{ODD}/query?raw=true", json={"where": {"raw": "true"}},
                        headers={"accept": CSV})  # fmt: skip
    assert "'=x" not in answer.text
    assert "=x" in answer.text


def test_a_file_becomes_records(admin: Client):
    company = add(admin, COMPANIES, name="Acme")
    text = 'title,value,closed_on,details\r\na,1.5,2026-01-02,"{""a"": [1]}"\r\n\r\nb,,,\r\n'
    done = report(imported(admin, DEALS, "\ufeff" + text))
    assert done == {"rows": 2, "valid": 2, "created": 2, "updated": 0, "errors": []}
    first, second = admin.get(DEALS, params={"sort": "title", "order": "asc"}).json()
    assert (first["value"], first["closed_on"], first["details"]) == (
        1.5, "2026-01-02", {"a": [1]},
    )  # fmt: skip
    assert (second["value"], second["title"]) == (None, "b")
    lines = "\n".join(
        [json.dumps({"email": "a", "company_id": company["id"]}), "", '{"email":"b"}']
    )
    assert report(imported(admin, CONTACTS, lines, NDJSON))["created"] == 2


def test_what_is_wrong_is_reported_with_row_and_field(admin: Client):
    add(admin, CONTACTS, email="taken")
    missing = "00000000-0000-4000-8000-000000000000"
    text = f"email,company_id\nnew,\ntaken,\nx,nonsense\ny,{missing}\nz\nok,\n"
    wanted: list[dict[str, Any]] = [
        {"row": 2, "field": "email", "value": "taken",
         "error": "contacts.email: this value is already taken"},
        {"row": 3, "field": "company_id", "value": "nonsense"},
        {"row": 4, "field": "company_id", "value": missing,
         "error": "contacts.company_id: no such companies record"},
        {"row": 5, "field": "company_id", "value": None,
         "error": "the row has 1 cells, and the header has 2"},
    ]  # fmt: skip
    for params in ({}, {"dryRun": "true"}):
        done = report(imported(admin, CONTACTS, text, **params))
        assert (done["rows"], done["valid"]) == (6, 2)
        assert [{**each, "error": want.get("error", each["error"])} for each, want in
                zip(done["errors"], wanted, strict=True)] == [
            {**want, "error": want.get("error", each["error"])}
            for each, want in zip(done["errors"], wanted, strict=True)
        ]  # fmt: skip
        assert query(admin, CONTACTS)["total"] == 1
    assert done["created"] == 2  # of a dry run: what would be
    done = report(imported(admin, CONTACTS, text, mode="valid"))
    assert (done["created"], len(done["errors"])) == (2, 4)
    assert query(admin, CONTACTS)["total"] == 3
    done = report(imported(admin, DEALS, "title,value\na,x\n"))
    assert done["errors"] == [
        {"row": 1, "field": "value", "value": "x",
         "error": "deals.value: a number is wanted, not 'x'"}
    ] or "deals.value" in done["errors"][0]["error"]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("titel\nx\n", "did you mean 'title'"),
        ("title,title\nx,y\n", "names 'title' twice"),
        ("", "must be a header"),
        ("\n", "must be a header"),
        ("title\n\u00e9\n".encode("utf-16"), "the header is not UTF-8 in column 1"),
        ("title,t\u00eftel\nx,y\n".encode("latin-1"), "the header is not UTF-8 in column 2"),
        ("title,details\n" + '"a"\n' * 3 + '"b"c,\n', "row 4, column 'title' is not CSV"),
        ('title,note\na,b\n\nx,"a" b\n', "row 2, column 'note' is not CSV"),
        ('title,note\n"a, ""b""\n",c\nx,"a', "row 2, column 'note' is not CSV"),
        ('title\na,"b" c\n', "row 1, column 2 is not CSV"),
        ('title,"note"s\n', "the header, column 2 is not CSV"),
    ],
)
def test_columns_are_never_lost_in_silence(admin: Client, body: str | bytes, said: str):
    """CSV columns lost in silence are the pitfall."""
    assert said in refused(imported(admin, DEALS, body))
    assert query(admin, DEALS)["total"] == 0


def test_what_is_not_utf_8_is_named_by_row_and_field(admin: Client):
    done = report(imported(admin, DEALS, b"title,note\nok,a\nx,caf\xe9\n", mode="valid"))
    assert done["errors"] == [
        {"row": 2, "field": "note", "value": "caf?", "error": "deals.note: the cell is not UTF-8"}
    ]
    assert done["created"] == 1
    done = report(imported(admin, DEALS, b'{"title": "a"}\n{"title": "\xff"}\n', NDJSON))
    assert [each["row"] for each in done["errors"]] == [2]
    assert done["errors"][0]["error"] == "the line is not UTF-8"


def test_groups_are_exported(admin: Client):
    for title, value in (("=a", 1), ("=a", 2), ("b, c", 9007199254740992), ("b, c", 1)):
        add(admin, DEALS, title=title, value=value, closed_on="2026-01-02")
    body = {
        "groupBy": ["title", {"$month": "closed_on"}, "stage"],
        "aggregate": {"sum": {"$sum": "value"}, "most": {"$max": "title"}},
    }
    path = f"{DEALS}/query"
    answer = admin.post(path, json=body, headers={"accept": CSV})
    assert answer.headers["content-type"].startswith(CSV)
    assert answer.headers["content-disposition"] == 'attachment; filename="deals.csv"'
    assert rows_of(answer.text) == [
        ["title", "closed_on", "stage", "sum", "most"],
        ["'=a", "2026-01", "", "3", "'=a"],
        ["b, c", "2026-01", "", "9007199254740993", "b, c"],
    ]
    answer = admin.post(f"{path}?raw=true", json=body, headers={"accept": CSV})
    assert rows_of(answer.text)[1][0] == "=a"
    answer = admin.post(path, json=body, headers={"accept": NDJSON})
    groups = admin.post(path, json=body).json()["data"]
    assert [json.loads(line) for line in answer.text.splitlines()] == groups
    answer = admin.post(path, json={**body, "limit": 1, "offset": 1}, headers={"accept": CSV})
    assert [row[0] for row in rows_of(answer.text)] == ["title", "b, c"]
    answer = admin.post(path, json={**body, "where": {"value": 0}}, headers={"accept": CSV})
    assert len(rows_of(answer.text)) == 1


def test_more_groups_than_a_page_has_are_not_left_out_of_a_file(admin: Client):
    rows = [{"title": f"{number:04}"} for number in range(1001)]
    assert admin.post(f"{DEALS}/bulk", json=rows[:1000]).status_code == 201
    path, body = f"{DEALS}/query", {"groupBy": ["title"]}
    answer = admin.post(path, json=body, headers={"accept": CSV})
    assert len(rows_of(answer.text)) == 1001
    add(admin, DEALS, **rows[1000])
    said = refused(admin.post(path, json=body, headers={"accept": CSV}))
    assert said == "there are 1001 groups: page them by limit, 1000 at most"
    pages = [
        rows_of(
            admin.post(
                path, json={**body, "limit": 600, "offset": offset}, headers={"accept": CSV}
            ).text
        )[1:]
        for offset in (0, 600)
    ]
    assert sorted(row[0] for page in pages for row in page) == [row["title"] for row in rows]


def test_numbers_beyond_a_double_are_never_rounded(admin: Client):
    """2^53 + 1 is refused in every body, and a text keeps its digits."""
    beyond = "9007199254740993"
    add(admin, DEALS, title=beyond)
    assert rows_of(exported(admin, DEALS, fields="title"))[1][1] == beyond
    assert beyond in refused(admin.post(DEALS, json={"value": int(beyond)}))
    assert beyond in refused(admin.post(DEALS, json={"value": beyond}))
    operation = {"op": "create", "entity": "deals", "data": {"value": int(beyond)}}
    assert "[0]" in refused(admin.post("/api/v1/apps/shop/batch", json={"operations": [operation]}))
    for body, kind in ((f"value\n{beyond}\n", CSV), (f'{{"value": {beyond}}}', NDJSON)):
        [problem] = report(imported(admin, DEALS, body, kind))["errors"]
        assert (problem["row"], problem["field"]) == (1, "value")
    report(imported(admin, DEALS, f"title\n{beyond}\n"))
    assert {each["title"] for each in admin.get(DEALS).json()} == {beyond}


def test_requests_to_import_are_checked(shop: Server, admin: Client):
    refused(imported(admin, DEALS, "title\nx\n", "application/json"))
    refused(imported(admin, DEALS, "title\nx\n", "text/csv; charset=ebcdic"))
    refused(imported(admin, DEALS, "title\nx\n", mode="some"))
    assert "dryRun" in refused(imported(admin, DEALS, "title\nx\n", dryrun="true"))
    refused(imported(admin, DEALS, "title\nx\n", on="title"))
    refused(imported(holding(shop, "deals.read"), DEALS, "title\nx\n"), 403)
    refused(imported(holding(shop, "contacts.create"), CONTACTS, "email\nx\n", on="email"), 403)
    assert "row 1" in refused(imported(admin, DEALS, '{"titel": 1}', NDJSON))
    done = report(imported(admin, DEALS, '{"title": "a"}\nnonsense\n[]\n', NDJSON))
    assert [each["row"] for each in done["errors"]] == [2, 3]


def test_rows_meet_records_by_a_key(admin: Client):
    add(admin, CONTACTS, email="a")
    text = "email,company_id\na,\nb,\nb,\n,\n"
    done = report(imported(admin, CONTACTS, text, on="email"))
    assert (done["created"], done["updated"], done["errors"]) == (2, 2, [])
    assert query(admin, CONTACTS)["total"] == 3


def test_an_export_can_be_imported(admin: Client):
    deal = add(
        admin, DEALS, title="x", value=0.1, details=[1, "=a"], note="", closed_on="2026-01-01"
    )
    for kind in (CSV, NDJSON):
        body = exported(admin, DEALS, kind)
        done = report(imported(admin, DEALS, body, kind))
        assert done["errors"] == []
        newest = admin.get(DEALS, params={"limit": 1}).json()[0]
        same = {
            name: newest[name] for name in deal if name not in ("id", "created_at", "updated_at")
        }
        note = None if kind == CSV else ""
        assert same == {name: deal[name] for name in same} | {"note": note}
        admin.delete(f"{DEALS}/{newest['id']}")


def test_a_cell_without_a_column_is_named(admin: Client):
    [problem] = report(imported(admin, DEALS, "title,note\na,b,c,d\n"))["errors"]
    assert problem == {
        "row": 1, "field": None, "value": "c",
        "error": "the row has 4 cells, and the header has 2",
    }  # fmt: skip


def test_a_request_with_a_key_imports_once(admin: Client):
    for _ in range(2):
        answer = admin.post(
            f"{DEALS}/import",
            content=b"title\nx\n",
            headers={"content-type": CSV, "idempotency-key": "k"},
        )
        assert report(answer)["created"] == 1
    assert query(admin, DEALS)["total"] == 1


@pytest.mark.slow
def test_large_cells_are_taken(admin: Client):
    text = "x" * 10_000_000
    assert report(imported(admin, DEALS, f'title\n"{text}"\n'))["created"] == 1
    assert len(rows_of_large(exported(admin, DEALS, fields="title"))) == 10_000_000


def rows_of_large(text: str) -> str:
    before = csv.field_size_limit(20_000_000)
    try:
        return rows_of(text)[1][1]
    finally:
        csv.field_size_limit(before)


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(texts, st.floats(allow_nan=False, allow_infinity=False)), max_size=5)
)
def test_any_text_and_number_round_trips(shop: Server, rows: list[tuple[str, float]]):
    empty(shop)
    admin = shop.admin
    if rows:
        body = [{"title": title, "value": value} for title, value in rows]
        answer = admin.post(f"{DEALS}/bulk", json=body)
        if answer.status_code == 400:  # beyond what a double holds exactly
            return
    whole = exported(admin, DEALS)
    before = sorted((each["title"], each["value"]) for each in admin.get(DEALS).json())
    empty(shop)
    assert report(imported(admin, DEALS, whole))["errors"] == []
    after = sorted((each["title"], each["value"]) for each in admin.get(DEALS).json())
    assert after == before


WRONG = object()
NUMBERS: list[tuple[str, Any]] = [
    ("1.5", 1.5), ("", None), ("-2", -2), ("1e3", 1000), ("9007199254740993", WRONG), ("x", WRONG),
    ("1,5", WRONG), ("0x10", WRONG), ("1 000", WRONG), ("NaN", WRONG), ("=1", WRONG),
]  # fmt: skip
JSONS: list[tuple[str, Any]] = [
    ("", None), ('{"a": [1, "\u00e9"]}', {"a": [1, "\u00e9"]}), ('"x"', "x"), ("{", WRONG),
    ("a", WRONG),
]  # fmt: skip
cells = st.one_of(
    texts,
    st.text(st.sampled_from("\",;'=+-@\t\r\n\ufeff a\u00e9"), max_size=6),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=4),
)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, tuple[str, Any], tuple[str, Any]]]]:
    """A CSV file, and its rows: a text, a number and JSON, each of the latter with its value."""
    rows = draw(
        st.lists(
            st.tuples(cells, st.sampled_from(NUMBERS), st.sampled_from(JSONS)),
            min_size=1, max_size=4,
        )
    )  # fmt: skip
    # With bare line feeds Python's writer leaves carriage returns unquoted.
    forms = [("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL)]
    ending, quoting = draw(st.sampled_from(forms))
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator=ending, quoting=quoting)
    writer.writerow(["title", "value", "details"])
    writer.writerows([(title, number, value) for title, (number, _), (value, _) in rows])
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return (bom + written.getvalue()).encode(), rows


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(file=files(), raw=st.booleans())
def test_any_file_is_read_or_refused_with_row_and_field(
    shop: Server, file: tuple[bytes, list[Any]], raw: bool
):
    empty(shop)
    content, rows = file
    done = report(imported(shop.admin, DEALS, content, mode="valid", raw=str(raw).lower()))
    wanted: list[tuple[Any, ...]] = []
    wrong: list[tuple[int, str]] = []
    for number, (title, (_, value), (_, details)) in enumerate(rows, 1):
        if "\0" in title:
            wrong.append((number, "title"))
        elif WRONG in (value, details):
            wrong.append((number, "value" if value is WRONG else "details"))
        else:
            escaped = (
                not raw and title.startswith("'") and title.lstrip("'")[:1] in tuple("=+-@\t\r")
            )
            text = title[1:] if escaped and title.lstrip("'") else title
            wanted.append((text or None, value, details))
    assert [(each["row"], each["field"]) for each in done["errors"]] == wrong
    assert (done["rows"], done["created"]) == (len(rows), len(wanted))
    found = [
        (each["title"], each["value"], each["details"])
        for each in shop.admin.get(DEALS, params={"order": "asc"}).json()
    ]
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def read_by_python(text: str) -> tuple[list[list[str]], str]:
    """Rows before the first error, and what that says."""
    rows: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
            rows += [cells] if cells else []
    except csv.Error as error:
        return rows, str(error)
    return rows, ""


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(text=st.text(st.sampled_from('",\r\n ab'), max_size=30))
def test_any_text_is_read_as_python_reads_it_or_refused_with_row_and_column(
    shop: Server, text: str
):
    """What is no CSV at all is compared with Python's own reader."""
    empty(shop)
    answer = imported(shop.admin, DEALS, f"title,note\n{text}", mode="valid")
    rows, error = read_by_python(text)
    if error:
        named = rf"row {len(rows) + 1}, column ('title'|'note'|\d+) is not CSV: {re.escape(error)}"
        assert re.fullmatch(named, refused(answer))
        assert query(shop.admin, DEALS)["total"] == 0
        return
    done = report(answer)
    wrong = [number for number, cells in enumerate(rows, 1) if len(cells) != 2]
    assert [each["row"] for each in done["errors"]] == wrong
    assert all(each["field"] == "note" or each["value"] is not None for each in done["errors"])
    found = [(each["title"] or "", each["note"] or "") for each in shop.admin.get(DEALS).json()]
    assert sorted(found) == sorted(tuple(cells) for cells in rows if len(cells) == 2)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(file=files(), data=st.data())
def test_a_file_with_a_broken_byte_is_refused(shop: Server, file: Any, data: st.DataObject):
    """Nothing is created from a cell that is not UTF-8."""
    empty(shop)
    content, _ = file
    place = data.draw(st.integers(0, len(content)))
    broken = content[:place] + data.draw(st.sampled_from([b"\xff", b"\xc3(", b"\xed\xa0\x80"]))
    broken += content[place:]
    answer = imported(shop.admin, DEALS, broken)
    if answer.status_code == 400:
        said = answer.json()["error"]
        assert "header" in said or said.startswith("row ") or "no field" in said, said
    else:
        assert all(each["row"] for each in report(answer)["errors"])
        assert answer.json()["errors"]
    assert query(shop.admin, DEALS)["total"] == 0


def test_a_preview_shows_rows_as_they_would_be_stored(shop: Server, admin: Client):
    text = "email,company_id\nnew,\nnew,\nx,nonsense\ny,\nz,\n"
    done = report(imported(admin, CONTACTS, text, dryRun="true", preview="4"))
    assert (done["valid"], done["created"], [each["row"] for each in done["errors"]]) == (
        3, 3, [2, 3],
    )  # fmt: skip
    assert [(each["row"], each["record"]["email"]) for each in done["preview"]] == [
        (1, "new"), (4, "y"),
    ]  # fmt: skip
    shown = done["preview"][0]["record"]
    add(admin, CONTACTS, email="new")
    stored = admin.get(CONTACTS, params={"email": "new"}).json()[0]
    assert shown.keys() == stored.keys()
    for_all = {"id", "created_at", "updated_at"}
    assert {k: v for k, v in shown.items() if k not in for_all} == {
        k: v for k, v in stored.items() if k not in for_all
    }
    done = report(imported(admin, CONTACTS, text, dryRun="true", on="email", preview="1"))
    assert done["preview"][0]["record"]["id"] == stored["id"]
    assert done["updated"] == 2
    assert "preview" not in report(imported(admin, CONTACTS, text, dryRun="true"))
    refused(imported(admin, CONTACTS, text, preview="-1"))
    writer = holding(shop, "deals.create")  # which reads nothing
    [row] = report(imported(writer, DEALS, "title,value\na,1.50\n", preview="9"))["preview"]
    assert {**row["record"], "id": ""} == {"id": "", "title": "a", "value": 1.5}
