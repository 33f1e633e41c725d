"""The built-in roles and permissions keep what ACCESS promises."""

from kernel.testing.conformance import AccessConformance


class TestRbac(AccessConformance):
    provider = "rbac"
