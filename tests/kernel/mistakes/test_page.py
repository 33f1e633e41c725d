"""The page of docs/ shows the mistakes as the tests meet them."""

from tests.kernel.mistakes.page import PAGE, written


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == written(), "run python -m tests.kernel.mistakes.page"
