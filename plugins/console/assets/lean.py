"""What is sent of a script or style: what only readers of the source need is left out.

Numbers of lines stay, so that an error of the browser names the line of the source. Names stay too.
"""

from __future__ import annotations

import re
from typing import Final

STYLE_COMMENT: Final = re.compile(r"(?ms)^[ \t]*/\*(?:(?!\*/).)*\*/$")
"""A comment of whole lines in a style."""
STYLE_SPACE: Final = re.compile(r"(?m)^[ \t]+|(?<=[:,>]) | (?=[{>])|;(?=\n\s*\})")
"""Spaces and semicolons of a style that change nothing."""
INDENTATION: Final = re.compile(r"(?<=\n)[ \t]+")
TOKEN: Final = re.compile(
    r"""(?P<space>[ \t]+)
    |(?P<comment>//[^\n]*|/\*(?s:.*?)\*/)
    |'(?:[^'\\\n]|\\.)*'
    |"(?:[^"\\\n]|\\.)*"
    |[\w$]+
    |(?s:.)""",
    re.VERBOSE,
)
PATTERN: Final = re.compile(r"/(?!\*)(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
"""A regular expression as a literal."""
TEMPLATE_TEXT: Final = re.compile(r"(?s)(?:[^`\\$]|\\.|\$(?!\{))*")
"""Text in backticks up to its end, or to the next `${`."""
VALUE_ENDS: Final = frozenset("_$)]}'\"`")
"""What a value can end with, besides letters and digits. A slash behind it divides."""
CLOSING: Final = frozenset(")]}")
OPERATORS: Final = frozenset({"in", "instanceof"})
WORDS_BEFORE_VALUE: Final = frozenset({"await", "case", "in", "of", "return", "typeof"})


def shorten(name: str, body: bytes) -> bytes:
    """Return what is sent of a file. What is vendored is sent as it is."""
    if name.startswith("vendor/"):
        return body
    if name.endswith(".js"):
        return _Script(body.decode()).shorten().encode()
    if name.endswith(".css"):
        return _shorten_style(body.decode()).encode()
    return body


def _shorten_style(source: str) -> str:
    plain = STYLE_COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), source)
    return STYLE_SPACE.sub("", plain)


class _Script:
    """A script that is read token by token.

    Outside text a space stays only between two words, and between two signs such as `+ +`. A comma
    at the end of a list of several lines is left out: a list never ends with an empty element. A
    semicolon is left out at the end of a line where the next one begins a statement. In backticks
    the indentation of lines is left out: in HTML it means nothing.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._parts: list[str] = []
        self._last = ""
        """The token before, which is no space and no line."""
        self._has_space = False
        """Whether a space was left out behind it."""
        self._semicolon: int | None = None
        """The place of a semicolon, until it is known whether it is needed."""
        self._has_line = False
        """Whether a line ends behind it."""
        self._open_braces: list[int] = []
        """How many braces are open in each `${` around the place."""

    def shorten(self) -> str:
        while self._at < len(self._source):
            self._take_token()
        if self._semicolon is not None:
            self._parts[self._semicolon] = ";"
        return "".join(self._parts)

    def _take_token(self) -> None:
        match = self._match_pattern() or TOKEN.match(self._source, self._at)
        assert match is not None  # every letter is a token
        self._at = match.end()
        text = match[0]
        if match.lastgroup == "space":
            self._has_space = True
        elif match.lastgroup == "comment":
            self._parts.append("\n" * text.count("\n"))
        elif text == "\n":
            self._parts.append(text)
            self._has_space = False
            self._has_line = True
        elif text == ";":
            self._settle_semicolon(text)
            self._semicolon = len(self._parts)
            self._has_line = False
            self._add("")
            self._last = ";"
        else:
            self._settle_semicolon(text)
            self._add(text)
            self._follow_templates(text)

    def _match_pattern(self) -> re.Match[str] | None:
        """A slash begins a regular expression where no value ends before it."""
        end = self._last[-1:]
        is_behind_value = end.isalnum() or end in VALUE_ENDS
        if is_behind_value and self._last and self._last not in WORDS_BEFORE_VALUE:
            return None
        return PATTERN.match(self._source, self._at)

    def _settle_semicolon(self, following: str) -> None:
        """Leave a semicolon out at the end of a line, where the next one begins a statement."""
        if self._semicolon is None:
            return
        is_word = _is_of_word(following[0]) and following not in OPERATORS
        is_needless = self._has_line and (is_word or following == "}")
        if not is_needless:
            self._parts[self._semicolon] = ";"
        self._semicolon = None

    def _add(self, text: str) -> None:
        if self._has_space and _would_join(self._last, text):
            self._parts.append(" ")
        self._has_space = False
        if text in CLOSING:
            self._drop_trailing()
        self._parts.append(text)
        self._last = text

    def _drop_trailing(self) -> None:
        """Leave out a comma at the end of a list over several lines, before what closes it."""
        at = len(self._parts) - 1
        while at > 0 and not self._parts[at].strip("\n"):
            at -= 1
        if 0 < at < len(self._parts) - 1 and self._parts[at] == ",":
            del self._parts[at]

    def _follow_templates(self, text: str) -> None:
        """Read the text in backticks that begins, or goes on, behind a token."""
        if text == "`":
            self._take_template_text()
        elif text == "{" and self._open_braces:
            self._open_braces[-1] += 1
        elif text == "}" and self._open_braces:
            self._open_braces[-1] -= 1
            if self._open_braces[-1] == 0:
                self._open_braces.pop()
                self._take_template_text()

    def _take_template_text(self) -> None:
        match = TEMPLATE_TEXT.match(self._source, self._at)
        assert match is not None  # it may be empty
        self._parts.append(INDENTATION.sub("", match[0]))
        self._at = match.end()
        end = "`"
        if self._source.startswith("${", self._at):
            end = "${"
            self._open_braces.append(1)
        self._at += len(end)
        self._parts.append(end)
        self._last = end[-1]


def _would_join(left: str, right: str) -> bool:
    """Whether two tokens that touch each other would be read as another one."""
    end = left[-1:]
    begin = right[0]
    if _is_of_word(end) and _is_of_word(begin):
        return True
    return end == begin and begin in "+-/"


def _is_of_word(letter: str) -> bool:
    return letter.isalnum() or letter in ("_", "$")
