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
from plugins.data.columns import quoted
from plugins.data.filters import Conditions
from plugins.data.store import Table

MAX_LENGTH: Final = 500
"""Characters of a search."""

MAX_WORDS: Final = 10
"""Words that are compared with similar ones."""

_THRESHOLD: Final = b"'pg_trgm.strict_word_similarity_threshold', '0.4', true"
"""How similar a word must be, of 1, until the transaction ends. One letter too many, too few, wrong
or misplaced leaves two fifths of the trigrams of most words. The default of a half misses many."""

_TOKEN: Final = re.compile(r'-?"[^"]*"?|\S+')
SHORT_WEIGHT: Final = "A"


class Terms(msgspec.Struct, frozen=True):
    """A search taken apart: `last` is the word that may be a beginning, or empty.

    All `plain` words must be there; `words` are compared with similar ones; `strict` is what stays
    as it is: phrases and exclusions.
    """

    text: str
    last: str
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
    either = any(word.lower() == "or" for word in words)
    last = tokens[-1] if tokens and tokens[-1] in words and text[-1:].isalnum() else ""
    return Terms(
        text=text,
        last="" if last.lower() == "or" else last,
        plain=() if either else tuple(words)[:MAX_WORDS],
        words=() if either else tuple(word for word in words if len(word) > 2)[:MAX_WORDS],
        strict=" ".join(strict),
    )


class Matching:
    """The words of a table that a caller may read, and how a search compares them."""

    def __init__(self, table: Table, trigrams: str | None) -> None:
        search = table.entity.search
        fields = [f for f in search.fields if f.name in table.columns] if search else []
        if search is None or not fields:
            raise BadRequest(f"{table.entity.name} has no search: its manifest names no fields")
        columns = dict.fromkeys(field.column for field in fields)
        self._vectors = [b"t." + quoted(column) for column in columns]
        self._vector = b"(%b)" % b" || ".join(self._vectors)
        self._config = b"'caudex_apps.%b'::regconfig" % search.language.encode()
        self._trigrams = trigrams
        short = [field.name for field in fields if field.weight == SHORT_WEIGHT]
        self._short = [table.columns.find(name).sql for name in short] if trigrams else []

    def can_compare_similar(self, terms: Terms) -> bool:
        """Whether a search may find similar words."""
        return bool(self._short and terms.words)

    def exact(self, rows: Conditions, terms: Terms) -> bytes:
        """Require the words, and return the rank of a record."""
        query = self._query(rows, terms.text, terms.last)
        rows.parts.append(b"%b @@ %b" % (self._vector, query))
        if len(self._vectors) > 1:
            self._prefilter(rows, terms)
        return b"ts_rank(%b, %b)" % (self._vector, query)

    def _query(self, rows: Conditions, text: str, last: str) -> bytes:
        """Return the query of a text whose `last` word may be a beginning."""
        query = b"websearch_to_tsquery(%b, %b)" % (self._config, rows.bind(text, b"text"))
        if not last:
            return query
        # Of a word that the language ignores nothing is left that could be a beginning.
        word = query
        if last != text:
            word = b"websearch_to_tsquery(%b, %b)" % (self._config, rows.bind(last, b"text"))
        form = b"(case when numnode(%b) > 0 then (%b::text || ':*')::tsquery else %b end)"
        return form % (word, query, query)

    def _prefilter(self, rows: Conditions, terms: Terms) -> None:
        """Require each plain word in one of several vectors: an index serves a single one only."""
        for word in terms.plain:
            query = self._query(rows, word, word if word == terms.last else "")
            tests = [b"%b @@ %b" % (vector, query) for vector in self._vectors]
            # A word that the language ignores is in no vector.
            rows.parts.append(b"(numnode(%b) = 0 or %b)" % (query, b" or ".join(tests)))
        rows.searches |= not terms.plain

    def similar(self, rows: Conditions, terms: Terms) -> bytes:
        """Require similar words and the strict parts, and return the rank of a record."""
        assert self._trigrams is not None
        schema = quoted(self._trigrams)
        ranks: list[bytes] = []
        for word in terms.words:
            bound = rows.bind(word, b"text")
            # A key of the scan is computed before its first comparison, which uses the threshold.
            near = b"(select %b where set_config(%b) is not null)" % (bound, _THRESHOLD)
            tests = [b"%b operator(%b.%%>>) %b" % (column, schema, near) for column in self._short]
            rows.parts.append(b"(%b)" % b" or ".join(tests))
            ranks += [
                b"coalesce(%b.strict_word_similarity(%b, %b), 0)" % (schema, bound, column)
                for column in self._short
            ]
        if terms.strict:
            strict = rows.bind(terms.strict, b"text")
            query = b"websearch_to_tsquery(%b, %b)" % (self._config, strict)
            rows.parts.append(b"%b @@ %b" % (self._vector, query))
        rows.searches = True
        return b"(%b)" % b" + ".join(ranks)
