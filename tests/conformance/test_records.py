"""The built-in records keep what RECORDS promises."""

from kernel.testing.conformance import RecordsConformance


class TestData(RecordsConformance):
    provider = "data"
