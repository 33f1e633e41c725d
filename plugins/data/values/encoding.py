"""JSON of values, as parameters of statements."""

from __future__ import annotations

import msgspec

encode = msgspec.json.Encoder().encode
