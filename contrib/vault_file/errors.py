"""What can be wrong with a file."""

from __future__ import annotations


class Unopenable(Exception):
    """A file that is not what was sealed for this place, or not by a key that is here."""
