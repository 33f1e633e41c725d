"""Requests as they arrive: through which host, how many at once, and what they cost."""
