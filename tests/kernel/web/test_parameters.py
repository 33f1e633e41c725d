"""Query parameters: what they may be, and what an error says."""

from __future__ import annotations

import pytest

from kernel.errors import BadRequest
from kernel.web.parameters import one_of, read_limit, whole_number


@pytest.mark.parametrize(
    ("text", "found"), [(None, 20), ("1", 1), ("007", 7), ("1000", 1000), ("9" * 400, 1000)]
)
def test_a_limit_has_a_default_and_a_maximum(text: str | None, found: int) -> None:
    assert read_limit(text, 20) == found


@pytest.mark.parametrize("text", ["0", "", "-1", "+1", "1.0", "1e3", " 1", "1\n", "١", "9" * 401])
def test_another_limit_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^limit must be a whole number of at least 1$"):
        read_limit(text, 20)


def test_a_whole_number_is_from_0_to_that_of_a_bigint() -> None:
    assert whole_number("before", "0") == 0
    assert whole_number("before", str(2**63)) == 2**63 - 1


def test_another_value_than_the_known_ones_is_refused_by_their_names() -> None:
    assert one_of("order", "asc", ("asc", "desc")) == "asc"
    with pytest.raises(BadRequest, match=r"^order must be one of asc, desc$"):
        one_of("order", "ASC", ("asc", "desc"))
