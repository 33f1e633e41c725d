"""Values that nobody should read are hidden in texts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from itertools import islice
from typing import Final

HIDDEN: Final = "[secret]"
WORD: Final = 4
"""A shorter value is only hidden where it stands alone, or it would hide half of every text."""
MOST: Final = 5000
"""Values, and lines of them, that are looked for; whole values come first."""
ALONE: Final = 32
"""Short values that are looked for where they stand alone; more are hidden wherever they stand."""
ROUND: Final = 32
"""Values between two looks at the clock; in a text of 10,000 characters each takes its time."""
_MARK: Final = "\ud800"
"""What is hidden while others are looked for; no text that was ever encoded has it in it."""


class Mask:
    """Hides values in texts.

    Whoever chose the values can also write the texts, and wants the search to be slow. So it takes
    two milliseconds of processor time and 50 for each million characters; a text that needs more is
    hidden as a whole.
    """

    def __init__(self, values: Iterable[str]) -> None:
        whole = dict.fromkeys(value for value in values if value.strip())
        # A value of several lines is printed line by line.
        lines = (line for value in whole for line in value.splitlines() if len(line) >= WORD)
        looked_for = {*islice(whole, MOST), *islice(lines, max(0, MOST - len(whole)))}
        longest_first = sorted(looked_for, key=len, reverse=True)
        short = [value for value in longest_first if len(value) < WORD]
        self._values = [value for value in longest_first if len(value) >= WORD] + short[ALONE:]
        alone = "|".join(map(re.escape, short[:ALONE]))
        self._alone = re.compile(rf"(?<!\w)(?:{alone})(?!\w)") if alone else None

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._values or self._alone)

    def hide(self, text: str) -> str:
        """Return a text with the values hidden; to be cut afterwards, or half a value is left."""
        turn = ROUND if len(text) < 10_000 else 1
        timed = len(self._values) >= turn  # few values take less time than a look at the clock
        end = time.thread_time() + 0.002 + len(text) * 5e-8 if timed else 0.0
        hidden = text
        for number, value in enumerate(self._values, 1):
            hidden = hidden.replace(value, _MARK)
            if not number % turn and time.thread_time() > end:
                return f"[{len(text)} characters that could not be searched for secrets in time]"
        if self._alone is not None:
            hidden = self._alone.sub(_MARK, hidden)
        return hidden if hidden is text else hidden.replace(_MARK, HIDDEN)
