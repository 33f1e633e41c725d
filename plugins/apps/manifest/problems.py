"""Reads untyped JSON and collects everything that is wrong with it, each with its path."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from kernel.public import UNPRINTABLE, BadRequest

MAX_PROBLEMS: Final = 100
"""Problems that one message lists."""


class Problems:
    """The problems of a manifest."""

    def __init__(self) -> None:
        self._sentences: list[str] = []
        self._unlisted = 0

    def add(self, path: str, sentence: str) -> None:
        """Add a problem and its path."""
        if len(self._sentences) < MAX_PROBLEMS:
            self._sentences.append(f"{path}: {sentence}")
        else:
            self._unlisted += 1

    def raise_any(self) -> None:
        """Raise BadRequest that lists all problems, if there are any."""
        if not self._sentences:
            return
        message = "; ".join(self._sentences)
        if self._unlisted:
            message = f"{message}; and {self._unlisted} more"
        raise BadRequest(message)


class Part:
    """One object of a manifest, with members in `snake_case` or `camelCase`; null is absent."""

    def __init__(self, value: Mapping[str, Any], path: str, problems: Problems) -> None:
        self._value = value
        self._path = path
        self._problems = problems
        self._read: set[str] = set()
        self._inner: list[Part] = []
        self._is_unused = False

    def path_of(self, name: str) -> str:
        """Return the path of a member, as problems name it."""
        respelt = _respell(name)
        if name not in self._value and respelt in self._value:
            name = respelt
        if not self._path:
            return name
        return f"{self._path}.{name}"

    def problem(self, name: str, sentence: str) -> None:
        """Report a problem of a member."""
        self._problems.add(self.path_of(name), sentence)

    def get(self, name: str) -> Any:
        """Return a member under either spelling."""
        respelt = _respell(name)
        self._read |= {name, respelt}
        if respelt != name and name in self._value and respelt in self._value:
            self.problem(name, f"is given twice, as {name} and as {respelt}")
        return self._value.get(name, self._value.get(respelt))

    def text(self, name: str, default: str = "", longest: int = 10_000) -> str:
        """Return a member that is text."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > longest:
            self.problem(name, f"must be text of at most {longest} characters")
            return default
        return value

    def title(self, name: str, default: str, longest: int = 200) -> str:
        """Return a member that people read: printable text that is not empty."""
        value = self.text(name, default, longest)
        if value == default:
            return default
        if not value.strip() or UNPRINTABLE.search(value):
            self.problem(name, "must be printable text that is not empty")
            return default
        return value

    def flag(self, name: str) -> bool:
        """Return a member that is true or false."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            self.problem(name, "must be true or false")
        return value is True

    def items(self, name: str, at_most: int | None = None) -> list[Any]:
        """Return a member that is a list."""
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.problem(name, "must be a list")
            return []
        items = cast("list[Any]", value)
        if at_most is not None and len(items) > at_most:
            self.problem(name, f"has {len(items)} items, at most {at_most} are allowed")
            return []
        return items

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a member that is a list of texts, each once."""
        items = self.items(name)
        if not all(isinstance(item, str) for item in items):
            self.problem(name, "must be a list of texts")
            return ()
        return tuple(dict.fromkeys(items))

    def part(self, name: str) -> Part | None:
        """Return a member that is an object."""
        value = self.get(name)
        if value is None:
            return None
        part = make_part(value, self.path_of(name), self._problems)
        if part is not None:
            self._inner.append(part)
        return part

    def parts(self, name: str, at_most: int | None = None) -> list[Part]:
        """Return a member that is a list of objects; other items are reported and left out."""
        parts: list[Part] = []
        for index, item in enumerate(self.items(name, at_most)):
            part = make_part(item, f"{self.path_of(name)}[{index}]", self._problems)
            if part is not None:
                parts.append(part)
        self._inner += parts
        return parts

    def names_and_parts(self, name: str, at_most: int) -> list[Any]:
        """Return a member that is a list of texts and objects, the objects as parts."""
        members: list[Any] = []
        for index, item in enumerate(self.items(name, at_most)):
            member = item
            if isinstance(item, dict):
                path = f"{self.path_of(name)}[{index}]"
                member = Part(cast("Mapping[str, Any]", item), path, self._problems)
                self._inner.append(member)
            members.append(member)
        return members

    def leave_unused(self) -> None:
        """Say that the whole object has no effect: `unread` has its path, and none within it."""
        self._is_unused = True

    def unread(self, known_names: Collection[str] = ()) -> list[str]:
        """Return the paths of members that were not read and are not null, inner ones last.

        Members with one of `known_names` are not among them.
        """
        if self._is_unused:
            return [self._path]
        paths = [
            self.path_of(name)
            for name, value in self._value.items()
            if value is not None and name not in self._read and name not in known_names
        ]
        for part in self._inner:
            paths += part.unread()
        return paths


def make_part(value: object, path: str, problems: Problems) -> Part | None:
    """Return a part for an object; report any other value."""
    if not isinstance(value, dict):
        problems.add(path or "the manifest", "must be an object")
        return None
    return Part(cast("dict[str, Any]", value), path, problems)


def _respell(name: str) -> str:
    """Return `default_value` for `defaultValue` and the reverse."""
    if name.islower():
        return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)
