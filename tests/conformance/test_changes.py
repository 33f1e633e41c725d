"""The reader of the trail keeps what CHANGES promises."""

from kernel.testing.conformance import ChangesConformance


class TestAudit(ChangesConformance):
    provider = "audit"
