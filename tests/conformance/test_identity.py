"""The built-in accounts keep what IDENTITY promises."""

from kernel.testing.conformance import SessionsConformance


class TestAuth(SessionsConformance):
    provider = "auth"
