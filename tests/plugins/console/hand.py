"""A person at the console: a mouse, a finger and a keyboard.

Clicks and taps go to a place on the screen, as a hand's do: what covers a button gets them. What is
typed goes to the element that has the focus.
"""

from __future__ import annotations

from typing import Any

HAS_FOCUS = "(element) => element === document.activeElement"
COVERED = """([element, x, y]) => {
    const top = document.elementFromPoint(x, y);
    if (top !== null && (element.contains(top) || top.contains(element))) return '';
    return top === null ? 'nothing' : top.outerHTML.slice(0, 200);
}"""
MOST_TABS = 25
"""Presses of the Tab key after which an input counts as out of reach."""


class Hand:
    """Does what a person does, and counts the clicks."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.clicks = 0

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self._find_middle(selector)
        self.page.mouse.click(x, y)
        self.clicks += 1

    def tap(self, selector: str) -> None:
        """Tap on an element of a touch screen."""
        x, y = self._find_middle(selector)
        self.page.touchscreen.tap(x, y)
        self.clicks += 1

    def choose(self, selector: str, title: str) -> None:
        """Choose from a list that the browser draws: a click opens it, another one chooses."""
        self._find_middle(selector)
        self.page.select_option(selector, label=title)
        self.clicks += 2

    def go_to(self, selector: str) -> None:
        """Press Tab until an input has the focus."""
        element = self.page.wait_for_selector(selector)
        for _ in range(MOST_TABS):
            if element.evaluate(HAS_FOCUS):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {selector}")

    def type(self, text: str) -> None:
        """Type into what has the focus, which is never JSON."""
        assert "{" not in text
        self.page.keyboard.type(text)

    def press(self, key: str) -> None:
        """Press a key, or several as `Control+a`."""
        self.page.keyboard.press(key)

    def see(self, selector: str) -> Any:
        """Wait until something is there."""
        return self.page.wait_for_selector(selector)

    def _find_middle(self, selector: str) -> tuple[float, float]:
        place = self.page.locator(selector).first
        place.scroll_into_view_if_needed()
        element = place.element_handle()
        box = element.bounding_box()
        x = box["x"] + box["width"] / 2
        y = box["y"] + box["height"] / 2
        covering = self.page.evaluate(COVERED, [element, x, y])
        assert not covering, f"{selector} is covered by {covering}"
        return x, y
