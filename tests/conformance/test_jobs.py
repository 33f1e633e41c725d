"""The built-in jobs keep what JOBS promises."""

from typing import ClassVar

from kernel.testing.conformance import JobsConformance


class TestJobs(JobsConformance):
    provider = "jobs"
    overrides: ClassVar = {
        "plugins": {"jobs": {"poll_interval": 0.2, "cancel_grace": 0.5, "drain": 1.0}}
    }
