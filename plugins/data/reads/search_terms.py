"""Full-text search: a condition and an order over the words that the caller may read.

The syntax is that of web searches (`"a phrase"`, `-without`, `or`); the last word may be the
beginning of one. Where nothing has the words, similar ones count in short fields, as far as
pg_trgm is installed.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from kernel.public import BadRequest
from plugins.data.columns.column import quoted
from plugins.data.filters.conditions import Conditions
from plugins.data.statements.entity_table import Table

MAX_LENGTH: Final = 500
"""Characters of a search."""

MAX_WORDS: Final = 10
"""Words that are compared with similar ones."""

_THRESHOLD: Final = b"'pg_trgm.strict_word_similarity_threshold', '0.4', true"
"""How similar a word must be, of 1, until the transaction ends. One letter too many, too few, wrong
or misplaced leaves two fifths of the trigrams of most words. The default of a half misses many."""

_TOKEN: Final = re.compile(r'-?"[^"]*"?|\S+')
_HYPHENATED: Final = re.compile(r"[^\W\d_]+(-[^\W\d_]+)+")
_BEGINNING: Final = b"(%b::text || ':*')::tsquery"
_BEGINNINGS: Final = rb"regexp_replace(%b::text, '''( |$)', ''':*\1', 'g')::tsquery"
"""A query whose last lexeme may be a beginning, and one of which each may be."""

SHORT_WEIGHT: Final = "A"


class Terms(msgspec.Struct, frozen=True):
    """A search taken apart: `last` is the word that may be a beginning, or empty.

    Each word of `alone` has a query of its own; the `rest` is in the syntax of web searches. All
    `plain` words must be there; `words` are compared with similar ones; `strict` is what stays as
    it is: phrases and exclusions.
    """

    last: str
    alone: tuple[str, ...]
    rest: str
    plain: tuple[str, ...]
    words: tuple[str, ...]
    strict: str


def read_terms(text: str) -> Terms:
    """Take a search apart. Raises BadRequest."""
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"search has more than {MAX_LENGTH} characters")
    if "\0" in text:
        raise BadRequest("text must not contain the character U+0000")
    tokens = _TOKEN.findall(text)
    strict = [token for token in tokens if token[0] == "-" or '"' in token]
    words = [token for token in tokens if token not in strict]
    last = ""
    ends_within_word = len(words) > 0 and words[-1] == tokens[-1] and text[-1:].isalnum()
    if ends_within_word and tokens[-1].lower() != "or":
        last = tokens[-1]
    # With `or`, one part is enough: no word is required.
    has_alternatives = any(word.lower() == "or" for word in words)
    required = [] if has_alternatives else words
    plain = tuple(required[:MAX_WORDS])
    alone = {word for word in plain if word == last or parts_of(word)}
    return Terms(
        last=last,
        alone=tuple(sorted(alone)),
        rest=" ".join(as_phrase(token) for token in tokens if token not in alone),
        plain=plain,
        words=tuple(word for word in required if len(word) > 2)[:MAX_WORDS],
        strict=" ".join(as_phrase(token) for token in strict),
    )


def as_phrase(token: str) -> str:
    """Quote a word that has signs in it, such as the address of a page.

    PostgreSQL reads a phrase as it reads the text of a record. Without quotes it ends a word at a
    colon and at some other signs.
    """
    sign = "-" if token[0] == "-" else ""
    word = token.removeprefix("-")
    if not word or word.isalnum() or '"' in word:
        return token
    return f'{sign}"{word}"'


def parts_of(word: str) -> list[str]:
    """Return the words that hyphens join, none for a word of another form."""
    return word.split("-") if _HYPHENATED.fullmatch(word) else []


class Matching:
    """The words of a table that a caller may read, and how a search compares them."""

    def __init__(self, table: Table, trigrams: str | None) -> None:
        search = table.entity.search
        fields = search.fields if search is not None else ()
        fields = [field for field in fields if field.name in table.columns]
        if search is None or not fields:
            raise BadRequest(f"{table.entity.name} has no search: its manifest names no fields")
        columns = dict.fromkeys(field.column for field in fields)
        self._vectors = [b"t." + quoted(column) for column in columns]
        self._vector = b"(%b)" % b" || ".join(self._vectors)
        self._config = b"'caudex_apps.%b'::regconfig" % search.language.encode()
        self._trigrams = trigrams
        self._short: list[bytes] = []
        """Columns in which similar words count."""
        if trigrams is not None:
            short_names = [field.name for field in fields if field.weight == SHORT_WEIGHT]
            self._short = [table.columns.find(name).sql for name in short_names]

    def can_compare_similar(self, terms: Terms) -> bool:
        """Whether a search may find similar words."""
        return bool(self._short and terms.words)

    def require_exact(self, conditions: Conditions, terms: Terms) -> bytes:
        """Require the words, and return the rank of a record."""
        queries = [self._write_word(conditions, terms, word) for word in terms.alone]
        if terms.rest:
            queries.append(self._write_rest(conditions, terms))
        query = b"(%b)" % b" && ".join(queries)
        conditions.parts.append(b"%b @@ %b" % (self._vector, query))
        if len(self._vectors) > 1:
            self._require_each(conditions, terms)
        return b"ts_rank(%b, %b)" % (self._vector, query)

    def _write_rest(self, conditions: Conditions, terms: Terms) -> bytes:
        query = self._write_websearch(conditions, terms.rest)
        if not terms.last or terms.last in terms.alone:
            return query
        # Of a word that the language ignores nothing is left that could be a beginning.
        word = self._write_websearch(conditions, as_phrase(terms.last))
        beginning = _BEGINNING % query
        return b"(case when numnode(%b) > 0 then %b else %b end)" % (word, beginning, query)

    def _write_word(self, conditions: Conditions, terms: Terms, word: str) -> bytes:
        """Return the query of a word: as it is, or as its parts beside each other.

        So `foo-bar` is found in `foo-bar-baz` and in `foo bar`. Where the language ignores a part,
        as of `to-do`, the word counts as it is only.
        """
        query = self._write_websearch(conditions, as_phrase(word))
        is_beginning = word == terms.last
        if is_beginning:
            # The first lexeme of an address is the whole of it; its host and its path follow.
            query = _BEGINNINGS % query
        parts = parts_of(word)
        if not parts:
            return query
        phrase = self._write_websearch(conditions, f'"{" ".join(parts)}"')
        is_whole = b"numnode(%b) = %d" % (phrase, 2 * len(parts) - 1)
        if is_beginning:
            phrase = _BEGINNING % phrase
        return b"(case when %b then %b || %b else %b end)" % (is_whole, query, phrase, query)

    def _write_websearch(self, conditions: Conditions, text: str) -> bytes:
        return b"websearch_to_tsquery(%b, %b)" % (self._config, conditions.bind(text, b"text"))

    def _require_each(self, conditions: Conditions, terms: Terms) -> None:
        """Require each plain word in one of several vectors: an index serves a single one only."""
        for word in terms.plain:
            query = self._write_word(conditions, terms, word)
            tests = [b"%b @@ %b" % (vector, query) for vector in self._vectors]
            # A word that the language ignores is in no vector.
            conditions.parts.append(b"(numnode(%b) = 0 or %b)" % (query, b" or ".join(tests)))

    def require_similar(self, conditions: Conditions, terms: Terms) -> bytes:
        """Require similar words and the strict parts, and return the rank of a record."""
        assert self._trigrams is not None
        schema = quoted(self._trigrams)
        ranks: list[bytes] = []
        for word in terms.words:
            bound = conditions.bind(word, b"text")
            # A key of the scan is computed before its first comparison, which uses the threshold.
            near = b"(select %b where set_config(%b) is not null)" % (bound, _THRESHOLD)
            tests = [b"%b operator(%b.%%>>) %b" % (column, schema, near) for column in self._short]
            conditions.parts.append(b"(%b)" % b" or ".join(tests))
            ranks += [
                b"coalesce(%b.strict_word_similarity(%b, %b), 0)" % (schema, bound, column)
                for column in self._short
            ]
        if terms.strict:
            query = self._write_websearch(conditions, terms.strict)
            conditions.parts.append(b"%b @@ %b" % (self._vector, query))
        return b"(%b)" % b" + ".join(ranks)
