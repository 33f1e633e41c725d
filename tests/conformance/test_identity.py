"""The built-in accounts keep what IDENTITY promises."""

import pytest

from kernel.conformance import SessionsConformance
from tests.conformance.support import broken_promises


class TestAuth(SessionsConformance):
    provider = "auth"


@pytest.mark.slow
def test_accounts_whose_tokens_outlive_them_do_not_pass(postgres, tmp_path):
    broken = broken_promises(  # it has to hear news of another server in time
        postgres, tmp_path, "IdentityConformance", "WrongIdentityPlugin", patience="0.6"
    )
    assert broken == {
        "test_a_token_ends_with_its_time",
        "test_a_token_leads_to_none_that_outlives_it",
        "test_accounts_are_listed_by_name",
        "test_an_account_is_found_by_its_name_without_regard_to_case",
        "test_an_account_can_be_made_for_somebody_else_to_sign_in_to",
        "test_there_is_no_token_for_nobody",
    }


@pytest.mark.slow
def test_sessions_that_never_end_and_passwords_in_clear_do_not_pass(postgres, tmp_path):
    own = [name for name in vars(SessionsConformance) if name.startswith("test_")]
    broken = broken_promises(
        postgres, tmp_path, "SessionsConformance", "WrongSessionsPlugin",
        provider="auth", only=" or ".join(own),
    )  # fmt: skip
    assert broken == set(own)
