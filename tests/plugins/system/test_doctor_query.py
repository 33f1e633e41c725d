"""The values that `caudex doctor` reads of the database."""

from plugins.system.examination.doctor import _query


def test_a_value_that_is_null_is_none_and_not_a_word(database: str):
    """The names of apps that crashed are null where there are none."""
    assert (
        _query(database, "select string_agg(x, ',') from (select 'a' as x where false) as y")
        is None
    )
    assert _query(database, "select x from missing") is None
    assert _query(database, "select 1 where false") is None
    assert _query(database, "select $1::text", "crm") == "crm"
