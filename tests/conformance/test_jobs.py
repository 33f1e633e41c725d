"""The built-in jobs keep what JOBS promises."""

from typing import ClassVar

import pytest

from kernel.conformance import JobsConformance
from tests.conformance.support import broken_promises


class TestJobs(JobsConformance):
    provider = "jobs"
    overrides: ClassVar = {"plugins": {"jobs": {"poll": 0.2, "grace": 0.5, "drain": 1.0}}}


@pytest.mark.slow
def test_an_engine_that_accepts_everything_for_everybody_does_not_pass(postgres, tmp_path):
    quick = "listed or list or key_there or unknown or reached or bad or others or their_app"
    broken = broken_promises(postgres, tmp_path, "JobsConformance", "WrongJobsPlugin", only=quick)
    assert broken == {
        "test_a_bad_job_is_refused",
        "test_a_job_is_reached_through_its_own_app_only",
        "test_a_list_can_be_of_one_status",
        "test_an_unknown_job_is_not_found",
        "test_jobs_are_listed_newest_first_page_by_page",
        "test_jobs_go_with_their_app_and_do_not_come_back",
        "test_of_many_with_one_key_there_is_one",
    }
