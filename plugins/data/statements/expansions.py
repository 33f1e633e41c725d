"""The links that a request expands: paths such as `contact_id.company_id`, with options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest, show_value
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Tree

MAX_DEPTH: Final = 3
MAX_EXPANDED: Final = 20
MAX_PATHS: Final = MAX_DEPTH * MAX_EXPANDED
MAX_PATH_LENGTH: Final = 400
"""Paths of links, and characters of each: those that were read before are kept."""


class Expansion(msgspec.Struct):
    """A link to expand: its options, and the links of the records it leads to."""

    options: Mapping[str, Any] = {}
    inner: dict[str, Expansion] = {}


Expansions = Mapping[str, Expansion]


def read_expand(items: object) -> Expansions:
    """Read `expand`: paths of links, and objects with options by path. Raises BadRequest."""
    if not isinstance(items, Sequence) or isinstance(items, str | bytes):
        raise BadRequest(f"expand: an array is wanted, not {show_value(items)}")
    entries = tuple(cast("Sequence[object]", items))
    if len(entries) > MAX_PATHS:
        raise BadRequest(f"expand holds more than {MAX_PATHS} paths")
    has_only_paths = {*map(type, entries)} == {str}
    if has_only_paths:
        return _read_paths(entries)
    return _read_entries(entries)


def _read_entries(entries: Iterable[object]) -> Expansions:
    root = Expansion(inner={})
    count = 0
    for path, options in _paths_with_options(entries):
        if len(path) > MAX_PATH_LENGTH:
            raise BadRequest(f"expand: there is no link {path[:80]!r}")
        names = path.split(".")
        if len(names) > MAX_DEPTH:
            raise BadRequest(f"expand: {path[:200]!r} is more than {MAX_DEPTH} deep")
        expansion = root
        for name in names:
            if name not in expansion.inner:
                expansion.inner[name] = Expansion(inner={})
                count += 1
            expansion = expansion.inner[name]
        if count > MAX_EXPANDED:
            raise BadRequest(f"expand holds more than {MAX_EXPANDED} links")
        if options:
            expansion.options = options
    return root.inner


_read_paths = lru_cache(500)(_read_entries)
"""Reads paths without options, which many requests repeat."""


def _paths_with_options(entries: Iterable[object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry, {}
        elif isinstance(entry, Mapping):
            for path, options in cast("Mapping[str, object]", entry).items():
                if not isinstance(options, Mapping):
                    shown = show_value(options)
                    raise BadRequest(f"expand.{path[:200]}: an object is wanted, not {shown}")
                yield path, cast("Mapping[str, Any]", options)
        else:
            raise BadRequest(f"expand: a text or an object is wanted, not {show_value(entry)}")


def find_entities_expanded(
    columns: Columns, expansions: Expansions
) -> list[tuple[str, Tree, Expansions]]:
    """Return the entities that expansions reach directly, with the tree and what is inside."""
    entities: list[tuple[str, Tree, Expansions]] = []
    for name, expansion in expansions.items():
        link = columns.links.get(name)
        if link is not None:
            tree: Tree = expansion.options.get("where") or {}
            entities.append((link.entity, tree, expansion.inner))
    return entities
