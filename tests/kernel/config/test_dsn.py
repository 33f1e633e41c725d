"""Addresses of databases: what is wrong is found at once, and told without the password."""

import pytest
from psycopg import pq

from kernel.config.dsn import mistake
from kernel.errors import nearest

ENCODE = "percent-encode what is special in it: % as %25, @ as %40, / as %2F, ? as %3F"
SSLMODE = "did you mean 'sslmode'?"
KNOWN = nearest("", [each.keyword.decode() for each in pq.Conninfo.get_defaults()])
FORM = "write postgresql://user:password@host/name"


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
    assert mistake(url) is None


@pytest.mark.parametrize(
    ("url", "problem", "remedy"),
    [
        ("postgresql://u:s3%cret@h/d", "its password has a % that begins no code", ENCODE),
        ("postgresql://u:s3cret%00@h/d", "its password has a % that begins no code", ENCODE),
        ("postgresql://u%:s3cret@h/d", "its user has a % that begins no code", ENCODE),
        ("postgresql://u:s3cret@h/d%", "its name has a % that begins no code", ENCODE),
        (
            "postgresql://u:s3c@ret@h/d", "it has more than one @",
            "write @ in the user or the password as %40",
        ),
        (
            "postgresql://u:s3c/ret@h/d", "its port is no number",
            "write / in the user or the password as %2F",
        ),
        ("postgresql://u:s3cret@h/d?sslmod=x", "it has an unknown parameter", SSLMODE),
        ("host=h password=s3cret sslmod=x", "it has an unknown parameter", SSLMODE),
        (
            "postgresql://u:1/2@h/d?zzzzzz=x", "it has an unknown parameter",
            KNOWN,
        ),
        ("mysql://u:s3cret@h/d", "it begins with mysql://, which is no PostgreSQL", FORM),
        ("postgresql+x://h", "it begins with postgresql+x://, which is no PostgreSQL", FORM),
        ("u:s3cret@localhost:5432/x", "it is not one of libpq's", FORM),
        ("localhost:5432/x", "it is not one of libpq's", FORM),
        ("postgresql://[::1/s3cret", "it is not one of libpq's", FORM),
    ],
)  # fmt: skip
def test_what_it_does_not_is_told_with_what_to_write(url: str, problem: str, remedy: str) -> None:
    assert mistake(url) == (problem, remedy)
