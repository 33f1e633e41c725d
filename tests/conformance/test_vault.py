"""The built-in vault keeps what VAULT promises."""

import pytest

from kernel.conformance import VaultConformance
from tests.conformance.support import broken_promises


class TestVault(VaultConformance):
    provider = "vault"


@pytest.mark.slow
def test_an_engine_that_keeps_one_heap_in_clear_does_not_pass(postgres, tmp_path):
    broken = broken_promises(postgres, tmp_path, "VaultConformance", "WrongVaultPlugin")
    assert broken == {
        "test_a_machine_without_the_key_does_not_start_or_opens_them_all_the_same",
        "test_a_secret_set_after_the_removal_is_not_the_next_apps",
        "test_a_thousand_are_kept_and_one_more_is_refused",
        "test_a_longer_value_is_refused_and_changes_nothing",
        "test_a_name_that_is_none_or_steers_is_refused",
        "test_a_change_is_told_so_that_workers_start_anew",
        "test_an_app_sees_nothing_of_another",
        "test_an_app_without_secrets_has_none",
        "test_an_apps_secret_overlays_the_platforms_until_it_is_deleted",
        "test_a_refused_write_is_not_in_the_trail",
        "test_an_ordinary_name_is_accepted",
        "test_many_at_once_are_all_kept",
        "test_names_are_sorted_and_differ_by_case",
        "test_no_value_lies_anywhere_in_clear",
        "test_secrets_go_with_their_app_and_do_not_come_back",
        "test_set_list_and_delete_over_http",
        "test_what_is_deleted_in_one_scope_stays_in_the_other",
        "test_what_one_server_does_the_others_see",
        "test_writes_are_in_the_trail_by_name_only",
    }
