"""The built-in records keep what RECORDS promises."""

import pytest

from kernel.conformance import RecordsConformance
from tests.conformance.support import broken_promises


class TestData(RecordsConformance):
    provider = "data"


@pytest.mark.slow
def test_an_engine_that_forgets_whose_a_record_is_does_not_pass(postgres, tmp_path):
    some = "own or many or narrows or over_http"
    kit, engine = "RecordsConformance", "WrongRecordsPlugin"
    broken = broken_promises(postgres, tmp_path, kit, engine, only=some)
    assert broken == {
        "test_bad_input_over_http_is_a_400",
        "test_of_many_all_are_written_or_none",
        "test_own_rows_are_the_makers_only",
    }
