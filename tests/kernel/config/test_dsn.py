"""Database URLs: a mistake is found at once and reported without the password."""

import pytest

from kernel.config.settings import url_problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss@host/name", "postgres://host", "postgresql:///name",
        "postgresql://user@/name?host=/run/postgresql", "host=/nowhere", "host=h password=p@%ss",
        "postgresql://user:p%25@[::1]:5432/name?sslmode=require&application_name=x",
        "postgresql://one:5432,two:5433/name", "service=mine", "postgresql://u:p?x@host/name",
        "postgresql://@abstract/name",
    ],
)  # fmt: skip
def test_what_libpq_takes_is_taken(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://u:s3%cret@h/d", 'invalid percent-encoded token: "…"'),
        ("postgresql://u:s3cret%00@h/d", 'forbidden value %00 in percent-encoded value: "…"'),
        ("postgresql://u%:s3cret@h/d", 'invalid percent-encoded token: "…"'),
        ("postgresql://u:s3cret@h/d%", 'invalid percent-encoded token: "…"'),
        ('postgresql://u:s3"cret%@h/d', 'invalid percent-encoded token: "…"'),
        ("postgresql://u:s3c@ret@h/d", "it has more than one @"),
        ("postgresql://u:s3c/ret@h/d", "its port is no number"),
        ("postgresql://u:s3cret@h/d?sslmod=x", 'invalid URI query parameter: "…"'),
        ("host=h password=s3cret sslmod=x", 'invalid connection option "…"'),
        ("postgresql://u:1/2@h/d?zzzzzz=x", 'invalid URI query parameter: "…"'),
        ("mysql://u:s3cret@h/d", 'missing "…" in connection info string'),
        ("postgresql+x://h", 'missing "…" in connection info string'),
        ("u:s3cret@localhost:5432/x", 'missing "…" in connection info string'),
        ("localhost:5432/x", 'missing "…" in connection info string'),
        ("host=h password='s3cret", "unterminated quoted string in connection info string"),
    ],
)
def test_what_libpq_does_not_take_is_reported_without_a_value(url: str, problem: str) -> None:
    assert url_problem(url) == problem
