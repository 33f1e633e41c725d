"""Alternatives and extras, off by default."""

from typing import Final

from kernel.contracts.server import Bundle

BUNDLE: Final = Bundle(origin="contrib")
