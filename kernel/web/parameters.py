"""Read query parameters, and which of the offered types a client prefers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from kernel.errors import BadRequest

__all__ = ["one_of", "preferred_type", "read_limit", "whole_number"]

WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
"""The parameter `q` of a media range (RFC 9110, 12.4.2)."""


def read_limit(text: str | None, default: int, maximum: int = 1000) -> int:
    """Read a `limit` parameter, capped at the maximum. Raises BadRequest."""
    if text is None:
        return default
    return min(whole_number("limit", text, minimum=1), maximum)


def whole_number(name: str, text: str, *, minimum: int = 0, maximum: int = 2**63 - 1) -> int:
    """Read a whole number of a query parameter. Raises BadRequest."""
    if not re.fullmatch(r"[0-9]{1,400}", text) or not minimum <= int(text):
        raise BadRequest(f"{name} must be a whole number of at least {minimum}")
    return min(int(text), maximum)


def one_of(name: str, text: str, options: Sequence[str]) -> str:
    """Read a parameter with a closed set of values. Raises BadRequest."""
    if text not in options:
        raise BadRequest(f"{name} must be one of {', '.join(options)}")
    return text


class MediaRange(msgspec.Struct, frozen=True):
    """A part of an `Accept` header: media types, as `text/csv` or `text/*`, and their weight."""

    name: str
    weight: float

    def measure_fit(self, media_type: str) -> int:
        """Return how exactly the range names a media type: 0 for not at all, 3 for itself."""
        if self.name == media_type:
            return 3
        if self.name == f"{media_type.partition('/')[0]}/*":
            return 2
        return 1 if self.name == "*/*" else 0


def preferred_type(accept: str, offers: Sequence[str]) -> str | None:
    """Return the media type that an `Accept` header prefers (RFC 9110, 12.5.1), None for none.

    The weight `q` decides. Of types with the same weight it is one that the header names itself,
    then the one that it names first, then the first of the offers.
    """
    ranges = list(_media_ranges(accept))
    ranks = dict[str, tuple[float, int, int]]()
    for offer in offers:
        fits = [media_range.measure_fit(offer) for media_range in ranges]
        closest = max(fits, default=0)
        if closest == 0:
            continue
        position = fits.index(closest)  # the most exact range decides, whatever others weigh
        weight = ranges[position].weight
        if weight > 0:
            ranks[offer] = (weight, closest, -position)
    return max(ranks, key=ranks.__getitem__, default=None)


def _media_ranges(accept: str) -> Iterator[MediaRange]:
    """Read the parts of a header; one whose weight is no number from 0 to 1 does not count."""
    for part in accept.lower().split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        weights = [text[2:] for text in parameters if text.startswith("q=")]
        if not weights:
            yield MediaRange(name, 1.0)
        elif WEIGHT.fullmatch(weights[0]):
            yield MediaRange(name, float(weights[0]))
