"""Values are hidden in texts, also when both are chosen to make the search slow."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.replica import masking
from plugins.workers.replica.masking import HIDDEN, WORD, Mask

VALUES = st.lists(st.text(alphabet='ab1 .-\n"\\', max_size=7), max_size=6)
TEXTS = st.text(alphabet='ab1 .-\n"\\é', max_size=40)


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("hunter22", "login with hunter22 ok", "login with [secret] ok"),
        ("a.b*c", "x a.b*c y aXbbc", "x [secret] y aXbbc"),
        ("abc", "abc abcd xabc (abc)", "[secret] abcd xabc ([secret])"),
        ("-----KEY\nline one\n-----END", "line one", "[secret]"),
        ("", "nothing", "nothing"),
        ("   ", "a   b", "a   b"),
        ("secret", "secret [secret]", "[secret] [[secret]]"),
        ("ab\ncd", "ab cd", "ab cd"),
    ],
)
def test_values_are_hidden(value: str, text: str, shown: str):
    assert Mask([value]).hide(text) == shown


def test_the_longest_value_is_hidden_first():
    assert Mask(["secret", "secret-long"]).hide("secret-long") == HIDDEN


def test_short_values_beyond_those_looked_for_alone_are_hidden_everywhere():
    values = [f"{number:03}" for number in range(100)]
    hidden = Mask(values).hide(" ".join(f"x{value}x {value}" for value in values))
    assert hidden.count(HIDDEN) == len(values) + (len(values) - masking.WORDS)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(VALUES, st.lists(TEXTS | st.integers(0, 5), max_size=6))
def test_nothing_is_left_of_what_is_in_a_text(values: list[str], pieces: list[str | int]):
    drawn = [values[n % len(values)] for n in pieces if isinstance(n, int) and values]
    text = "".join([str(piece) for piece in pieces if isinstance(piece, str)] + drawn)
    kept = Mask(values).hide(text).split(HIDDEN)
    for value in values:
        if len(value) >= WORD and value.strip():
            assert not any(value in part for part in kept)
    if not any(value and value in text for value in values):
        assert all(part in text for part in kept)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["a" * 60_000 + "b", "cccc"], "a" * 1_000_000),
        (["a" * 60_000 + "b", "aaaa"], "a" * 1_000_000),
        (["a" * n for n in range(4, 1200)], "a" * 1_000_000),
        (["a" * n + "b" + "a" * (1200 - n) for n in range(1000)], "a" * 2400),
        (["a" * n + "b" + "a" * (1200 - n) for n in range(1000)], "ab" * 500_000),
        ([f"{n:04}" for n in range(5000)], "0000" * 250_000),
        ([f"{n:03}" for n in range(1000)], " 000" * 250_000),
        ([chr(97 + n % 26) * 2 + chr(97 + n // 26) for n in range(600)], "a b c" * 200_000),
    ],
)
def test_neither_values_nor_texts_make_the_search_slow(values: list[str], text: str):
    mask = Mask(values)
    started = time.thread_time()
    mask.hide(text)
    assert time.thread_time() - started < 5  # 0.65 at most here; a search by pairs takes minutes


@pytest.mark.parametrize("text", ["value 0!", "value 0!" + "." * 20_000], ids=["short", "long"])
@pytest.mark.parametrize("count", range(1, 101))
def test_any_number_of_values_is_looked_for(count: int, text: str):
    mask = Mask([f"value {number}" for number in range(count)])
    assert mask.hide(text) == text.replace("value 0", HIDDEN)
    assert mask.hide(text.replace("0", "x")) == text.replace("0", "x")


def test_a_long_value_is_hidden_and_its_pieces_are():
    value = "".join(chr(0x100 + n) for n in range(1000))
    mask = Mask([value, "other"])
    assert mask.hide(f"a {value} b {value[:500]}").startswith(f"a {HIDDEN} b {HIDDEN}")
    assert all(part not in mask.hide(value[7:]) for part in (value[200:264], value[900:964]))


def test_a_value_next_to_another_one_is_hidden():
    assert Mask(["secret", "another"]).hide("secretanothersecret!") == "[secret]!"


@pytest.mark.slow
def test_making_a_mask_of_a_great_many_long_values_takes_no_time():
    values = [f"{number}\n" + "x\nlonger\n" * 7000 for number in range(1000)]
    started = time.thread_time()
    mask = Mask(values)
    assert time.thread_time() - started < 2
    assert mask.hide("longer") == HIDDEN
    assert mask.hide("nothing") == "nothing"
