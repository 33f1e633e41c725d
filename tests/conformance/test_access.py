"""The built-in roles and permissions keep what ACCESS promises."""

import pytest

from kernel.conformance import AccessConformance
from tests.conformance.support import broken_promises


class TestRbac(AccessConformance):
    provider = "rbac"


@pytest.mark.slow
def test_an_engine_that_compares_beginnings_and_never_forgets_does_not_pass(postgres, tmp_path):
    broken = broken_promises(
        postgres, tmp_path, "AccessConformance", "WrongAccessPlugin", provider="rbac"
    )
    assert broken == {
        "test_a_closed_account_keeps_its_roles_and_is_granted_nothing",
        "test_a_change_is_in_force_at_once_everywhere",
        "test_a_grant_opens_a_route_and_its_end_closes_it",
        "test_a_role_allows_what_its_keys_say_and_nothing_else",
        "test_an_update_of_the_app_keeps_roles_and_brings_keys",
        "test_assigned_twice_is_assigned_once",
        "test_changes_are_in_the_trail",
        "test_of_two_admins_who_go_at_once_one_stays",
        "test_roles_add_up_and_inherit",
        "test_the_last_admin_stays",
    }
