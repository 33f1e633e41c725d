"""Files as people have them: what Excel and LibreOffice write, in their languages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from kernel.testing import Client, Server
from tests.plugins.data.support import SAMPLES, clear, refused

EXCEL_GERMAN = (
    "sep=;\r\n"
    " Name ;READY;Amount;Taken_On;Seen_at;kind\r\n"
    "Müller;WAHR;1.234,5;31.12.2024;01.02.2025 14:30;Soil\r\n"
    "Ö;FALSCH;-7;1.2.2025;;\r\n"
)
EXCEL_ENGLISH = (
    "name,ready,amount,taken_on,seen_at\r\n"
    'a,TRUE,"1,234.50",12/31/2024,2/1/2025 2:30 PM\r\n'
    "b,FALSE,-7,2/1/2025,\r\n"
)


@pytest.fixture
def admin(lab: Server) -> Client:
    clear(lab)
    return lab.admin


def send(
    client: Client, body: str | bytes, kind: str = "text/csv", path: str = SAMPLES, **params: str
) -> httpx.Response:
    raw = body if isinstance(body, bytes) else body.encode()
    return client.post(f"{path}/import", content=raw, params=params, headers={"content-type": kind})


def report(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored(client: Client) -> list[dict[str, Any]]:
    return client.get(SAMPLES, params={"sort": "name", "order": "asc"}).json()


@pytest.mark.parametrize(
    ("body", "params"),
    [
        (EXCEL_GERMAN.encode("utf-8-sig"), {"dates": "dmy", "decimal": ","}),
        (EXCEL_GERMAN.encode("cp1252"), {"dates": "dmy", "decimal": ",", "charset": "latin-1"}),
        (
            EXCEL_GERMAN.replace("sep=;\r\n", "").replace(";", "\t").encode("utf-16"),
            {"dates": "dmy", "decimal": ",", "charset": "utf-16"},
        ),
        (EXCEL_ENGLISH, {"dates": "mdy", "decimal": "."}),
    ],
    ids=["German", "German, Windows", "Unicode text", "English"],
)
def test_what_excel_writes_is_taken(admin: Client, body: str | bytes, params: dict[str, str]):
    done = report(send(admin, body, **params))
    assert (done["created"], done["errors"]) == (2, [])
    first, second = stored(admin)
    assert (first["ready"], second["ready"]) == (True, False)
    assert (first["amount"], second["amount"]) == (1234.5, -7)
    assert (first["taken_on"], second["taken_on"]) == ("2024-12-31", "2025-02-01")
    assert first["seen_at"] == "2025-02-01T14:30:00Z"
    assert (second["seen_at"], second["kind"]) == (None, None)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("TRUE", True), ("True", True), ("yes", True), ("Y", True), ("1", True), ("on", True),
        ("FALSE", False), ("no", False), ("0", False), ("Off", False), ("vrai", True), ("", None),
    ],
)  # fmt: skip
def test_booleans_are_words_in_any_case(admin: Client, word: str, value: bool | None):
    assert report(send(admin, f"name,ready\na,{word}\n"))["errors"] == []
    assert stored(admin)[0]["ready"] is value


def test_another_word_is_no_boolean(admin: Client):
    [problem] = report(send(admin, "name,ready\na,maybe\n"))["errors"]
    assert (problem["row"], problem["field"], problem["value"]) == (1, "ready", "maybe")


@pytest.mark.parametrize("cell", ["03/04/2024", "31.12.2024", "3-4-2024 12:00"])
def test_the_order_of_a_date_is_asked_and_never_guessed(admin: Client, cell: str):
    said = refused(send(admin, f"name,taken_on\na,2024-01-02\nb,{cell}\n", mode="valid"))
    assert said.startswith("row 2, samples.taken_on: ")
    assert "the parameter dates says which: dmy or mdy" in said
    assert stored(admin) == []


@pytest.mark.parametrize(
    ("dates", "cell", "day"),
    [
        ("dmy", "03/04/2024", "2024-04-03"),
        ("mdy", "03/04/2024", "2024-03-04"),
        ("dmy", "2024-04-03", "2024-04-03"),
        ("mdy", "2024/4/3", "2024-04-03"),
        ("dmy", "3.4.2024 00:00:00", "2024-04-03"),
        ("mdy", "31/12/2024", None),
        ("dmy", "3.4.2024 12:00", None),
        ("dmy", "3.4.24", None),
        ("dmy", "30.2.2024", None),
        ("iso", "03/04/2024", None),
    ],
)
def test_dates_are_read_in_the_order_that_is_said(
    admin: Client, dates: str, cell: str, day: str | None
):
    done = report(send(admin, f"name,taken_on\na,{cell}\n", dates=dates))
    if day is None:
        [problem] = done["errors"]
        assert (problem["field"], problem["value"]) == ("taken_on", cell)
        assert stored(admin) == []
    else:
        assert stored(admin)[0]["taken_on"] == day


@pytest.mark.parametrize(
    ("decimal", "cell", "number"),
    [
        (",", "1.234,5", 1234.5), (",", "1 234,5", 1234.5), (",", "0,5", 0.5), (",", "1.234", 1234),
        (",", "12.34", 12.34), (",", "-3", -3), (".", "1,234", 1234),
        (".", "1,234,567.5", 1234567.5), (".", "12,34", None), (",", "1.23,4", None),
        (",", "1,2,3", None), ("", "1,5", None),
        ("", "1.5", 1.5), ("", "1e3", 1000), ("", "007", 7),
    ],
)  # fmt: skip
def test_numbers_are_read_with_the_mark_that_is_said(
    admin: Client, decimal: str, cell: str, number: float | None
):
    params = {"decimal": decimal} if decimal else {}
    done = report(send(admin, f'name,amount\na,"{cell}"\n', **params))
    if number is None:
        [problem] = done["errors"]
        assert (problem["field"], problem["value"]) == ("amount", cell)
        if not decimal:
            assert "the parameter decimal says what its comma means" in problem["error"]
    else:
        assert stored(admin)[0]["amount"] == number


def test_a_text_can_mean_no_value(admin: Client):
    body = "name,code,amount,taken_on,details\na,N/A,N/A,N/A,N/A\n"
    assert report(send(admin, body, null="N/A"))["errors"] == []
    record = stored(admin)[0]
    assert [record[name] for name in ("code", "amount", "taken_on", "details")] == [None] * 4


def test_the_reply_names_what_was_ignored(admin: Client):
    body = "ID;Name;Created_At;_etag\n;a;2020-01-01;x\n"
    done = report(send(admin, body))
    assert done["ignored"] == ["id", "created_at", "_etag"]
    assert done["delimiter"] == ";"
    plain = report(send(admin, "name\nb\n"))
    assert plain.keys() == {"rows", "valid", "created", "updated", "errors"}


def test_tabs_are_between_the_cells_of_tab_separated_values(admin: Client):
    body = 'name\tcode\n"a, b"\tc;d\n'
    assert report(send(admin, body, "text/tab-separated-values"))["created"] == 1
    assert report(send(admin, body.replace("c;d", "e"), delimiter="tab"))["created"] == 1
    assert [(each["name"], each["code"]) for each in stored(admin)] == [
        ("a, b", "c;d"),
        ("a, b", "e"),
    ]


@pytest.mark.parametrize(
    ("body", "params", "said"),
    [
        ("name,code\na,b\n", {"delimiter": ";"}, "its names have commas between them"),
        ("name;code\na;b\n", {"delimiter": ","}, "its names have semicolons between them"),
        ("name,Name \na,b\n", {}, "the header names 'name' twice"),
        ("parent,parent.code\n,b\n", {}, "the header names 'parent' twice"),
        (
            '{"name": "a"}\n{"name": "b", "parent": null, "parent.code": "c"}\n',
            {"kind": "application/x-ndjson"},
            "row 2: the line names 'parent' twice",
        ),
        (",".join(f"c{number}" for number in range(10_000)), {}, "more than 504 columns"),
        (";".join(f"c{number}" for number in range(10_000)), {}, "more than 504 columns"),
        ("name\na\n", {"delimiter": "x"}, "delimiter must be one of"),
        ("name\na\n", {"dates": "ymd"}, "dates must be one of iso, dmy, mdy"),
        ("name\na\n", {"decimal": ";"}, "decimal must be one of"),
        ("name\na\n", {"charset": "ebcdic"}, "charset must be one of"),
        ("name\na\n", {"create": "all"}, "create must be one of ids"),
        ("name\na\n", {"null": "x" * 101}, "null has at most 100 characters"),
        ("name\n\u00e9\n".encode("utf-16"), {}, "charset=utf-16"),
        (b"\xff\xfen", {"charset": "utf-16"}, "is not UTF-16"),
        (b"\xff\xfen\x00\n\x00\x00\xd8\x01\x02", {"charset": "utf-16"}, "is not UTF-16"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(
    admin: Client, body: str | bytes, params: dict[str, str], said: str
):
    assert said in refused(send(admin, body, **params))
    assert stored(admin) == []


def test_a_header_in_the_middle_of_a_file_is_no_row(admin: Client):
    done = report(send(admin, "name,code\na,b\nname,code\nc,d\n", mode="valid"))
    assert [(each["row"], each["error"]) for each in done["errors"]] == [
        (2, "the row is the header again")
    ]
    assert [each["name"] for each in stored(admin)] == ["a", "c"]


def test_columns_without_a_name_must_be_empty(admin: Client):
    done = report(send(admin, "name,,\na,,\nb,x,\n", mode="valid"))
    [problem] = done["errors"]
    assert (problem["row"], problem["value"]) == (2, "x")
    assert [each["name"] for each in stored(admin)] == ["a"]


def test_the_first_file_of_a_form_is_taken(admin: Client):
    path = f"{SAMPLES}/import"
    form = {
        "note": (None, "not a file"),
        "file": ("a.tsv", "name\tcode\na\tb\n", "application/vnd.ms-excel"),
        "other": ("b.csv", "name\nc\n", "text/csv"),
    }
    done = report(admin.post(path, files=form))
    assert (done["created"], done["delimiter"]) == (1, "\t")
    lines = {"file": ("a.ndjson", '{"name": "d"}\n', "application/octet-stream")}
    assert report(admin.post(path, files=lines))["created"] == 1
    windows = {"file": ("a.csv", "name\n\u00e9\n".encode("cp1252"), "text/csv; charset=latin-1")}
    assert report(admin.post(path, files=windows))["created"] == 1
    assert [each["name"] for each in stored(admin)] == ["a", "d", "\u00e9"]
    assert "no part with a file" in refused(admin.post(path, files={"note": (None, "x")}))
    unknown = {"file": ("a.xlsx", b"PK", "application/zip")}
    assert "content type" in refused(admin.post(path, files=unknown))


def test_the_content_type_may_name_the_charset(admin: Client):
    body = "name\n\u00e9\u20ac\n".encode("cp1252")
    assert report(send(admin, body, "text/csv; charset=windows-1252"))["created"] == 1
    assert stored(admin)[0]["name"] == "\u00e9\u20ac"
    [problem] = report(send(admin, body))["errors"]
    assert problem["error"] == "samples.name: the cell is not UTF-8"


def test_a_key_makes_a_form_act_once(admin: Client):
    """A form has another boundary each time: the file is what counts."""
    for _ in range(2):
        answer = admin.post(
            f"{SAMPLES}/import",
            files={"file": ("a.csv", "name\na\n", "text/csv")},
            headers={"idempotency-key": "once"},
        )
        assert report(answer)["created"] == 1
    assert len(stored(admin)) == 1
