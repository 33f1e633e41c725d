"""Email addresses as a proxy sends them: `user@host` without a dot is one, too."""

from __future__ import annotations

import re

from kernel import public

EMAIL = re.compile(r"[^\s@<>]+@[^\s@<>]+")


def clean_email(text: str | None) -> str | None:
    """Trim an email address; return None for a blank one. Raises BadRequest."""
    email = (text or "").strip()
    return public.clean_email(email, EMAIL) if email else None
