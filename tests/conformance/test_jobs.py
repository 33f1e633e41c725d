"""The built-in jobs keep what JOBS promises."""

from typing import ClassVar

from kernel.testing.conformance import JobsConformance


class TestJobs(JobsConformance):
    provider = "jobs"
    overrides: ClassVar = {"plugins": {"jobs": {"poll": 0.2, "grace": 0.5, "drain": 1.0}}}
