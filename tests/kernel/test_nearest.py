"""The word that was probably meant, at a cost that neither a caller nor a manifest can raise."""

import difflib
import time

from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import MAX_COMPARED, MAX_WORD, nearest

words = st.text("abcd_", min_size=1, max_size=12)


def meant(word: str, known: list[str]) -> list[str]:
    return difflib.get_close_matches(word, known, n=1, cutoff=0.6)


@given(word=words, known=st.lists(words, unique=True, max_size=15))
def test_it_is_the_word_that_difflib_finds(word: str, known: list[str]):
    said = nearest(word, known)
    if expected := meant(word, known):
        assert said == f"did you mean {expected[0]!r}?"
    elif known:
        assert said == f"known: {', '.join(sorted(known))}"
    else:
        assert said == ""


def test_the_most_similar_words_cost_little():
    """Words of few letters cost the most: each place of one matches many places of the other."""
    known = ["a" * 60 + f"{number:03}" for number in range(500)]
    began = time.thread_time()
    assert nearest("a" * 10_000_000, known).startswith("did you mean 'aaaa")
    assert time.thread_time() - began < 0.2  # 0.02 here, and 0.25 without a bound


def test_what_is_listed_is_bounded():
    known = [f"{number}" * 50_000 for number in range(2000)]
    said = nearest("word", known)
    assert len(said) < MAX_COMPARED * (MAX_WORD + 3)
