"""The kits refuse engines that break promises: tests of the tests."""

import pytest

from kernel.testing.conformance import SessionsConformance
from tests.conformance.support import broken_promises

pytestmark = pytest.mark.slow


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
        "test_limits_narrow_what_the_user_holds",
        "test_of_two_admins_who_go_at_once_one_stays",
        "test_roles_add_up_and_inherit",
        "test_the_last_admin_stays",
    }


def test_accounts_whose_tokens_outlive_them_do_not_pass(postgres, tmp_path):
    broken = broken_promises(  # it has to hear news of another server in time
        postgres, tmp_path, "IdentityConformance", "WrongIdentityPlugin", patience="0.6"
    )
    assert broken == {
        "test_a_token_ends_with_its_time",
        "test_a_token_has_the_limits_that_it_was_issued_with",
        "test_a_token_leads_to_none_that_outlives_it",
        "test_accounts_are_listed_by_name",
        "test_an_account_is_found_by_its_name_without_regard_to_case",
        "test_an_account_can_be_created_for_another_user",
        "test_an_unknown_user_gets_no_token",
    }


def test_sessions_that_never_end_and_passwords_in_clear_do_not_pass(postgres, tmp_path):
    own = [name for name in vars(SessionsConformance) if name.startswith("test_")]
    broken = broken_promises(
        postgres, tmp_path, "SessionsConformance", "WrongSessionsPlugin",
        provider="auth", only=" or ".join(own),
    )  # fmt: skip
    assert broken == set(own)


def test_an_engine_that_accepts_everything_for_everyone_does_not_pass(postgres, tmp_path):
    quick = "listed or list or one_key or unknown or reached or bad or others or their_app"
    broken = broken_promises(postgres, tmp_path, "JobsConformance", "WrongJobsPlugin", only=quick)
    assert broken == {
        "test_a_bad_job_is_refused",
        "test_a_job_is_reached_through_its_own_app_only",
        "test_a_job_of_a_plugin_is_retried_as_others_are",
        "test_a_list_can_be_of_one_status",
        "test_an_unknown_job_is_not_found",
        "test_jobs_are_listed_newest_first_page_by_page",
        "test_jobs_go_with_their_app_and_do_not_come_back",
        "test_concurrent_jobs_with_one_key_are_one_job",
    }


def test_an_engine_that_forgets_whose_a_record_is_does_not_pass(postgres, tmp_path):
    some = "own or many or narrows or over_http"
    kit, engine = "RecordsConformance", "WrongRecordsPlugin"
    broken = broken_promises(postgres, tmp_path, kit, engine, only=some)
    assert broken == {
        "test_bad_input_over_http_is_a_400",
        "test_of_many_all_are_written_or_none",
        "test_own_rows_are_the_makers_only",
    }


def test_an_engine_that_keeps_one_heap_in_clear_does_not_pass(postgres, tmp_path):
    broken = broken_promises(postgres, tmp_path, "VaultConformance", "WrongVaultPlugin")
    assert broken == {
        "test_a_machine_without_the_key_does_not_start_or_opens_them_all_the_same",
        "test_a_secret_set_after_the_removal_is_not_the_next_apps",
        "test_a_thousand_are_kept_and_one_more_is_refused",
        "test_a_longer_value_is_refused_and_changes_nothing",
        "test_a_name_that_is_none_or_steers_is_refused",
        "test_a_change_is_notified_so_that_workers_restart",
        "test_an_app_sees_nothing_of_another",
        "test_an_app_without_secrets_has_none",
        "test_an_apps_secret_overlays_the_platforms_until_it_is_deleted",
        "test_a_refused_write_is_not_in_the_trail",
        "test_an_ordinary_name_is_accepted",
        "test_many_at_once_are_all_kept",
        "test_names_are_sorted_and_differ_by_case",
        "test_no_value_is_stored_in_clear",
        "test_secrets_go_with_their_app_and_do_not_come_back",
        "test_set_list_and_delete_over_http",
        "test_what_is_deleted_in_one_scope_stays_in_the_other",
        "test_what_one_server_does_the_others_see",
        "test_writes_are_in_the_trail_by_name_only",
    }


def test_a_heap_that_keeps_what_was_not_finished_does_not_pass(postgres, tmp_path):
    broken = broken_promises(postgres, tmp_path, "StorageConformance", "WrongStoragePlugin")
    assert broken == {
        "test_a_range_is_what_a_slice_would_be",
        "test_a_writer_that_is_cancelled_leaves_nothing",
        "test_content_over_the_limit_is_refused_before_it_is_read_whole",
        "test_other_processes_see_what_is_written",
        "test_pieces_are_small_and_the_reader_knows_the_size",
        "test_to_write_again_renews_the_time",
        "test_what_is_deleted_is_gone_until_it_is_written_again",
        "test_what_is_no_hash_is_never_looked_for",
        "test_what_is_not_there_is_not_found",
        "test_what_the_pieces_raise_is_raised_and_nothing_is_stored",
    }


def test_an_engine_that_reads_by_ids_does_not_pass(postgres, tmp_path):
    broken = broken_promises(postgres, tmp_path, "ChangesConformance", "WrongChangesPlugin")
    assert broken == {
        "test_a_change_names_its_caller_and_its_request",
        "test_a_record_that_is_handed_over_has_both_owners",
        "test_a_table_that_was_emptied_at_once_is_a_loss",
        "test_a_transaction_that_commits_late_is_not_missed",
        "test_a_value_that_the_trail_replaced_is_filled_while_the_table_has_it",
        "test_changed_fields_are_a_loss_once",
        "test_history_begins_at_the_apps_own_install",
        "test_of_random_transactions_none_is_missed_and_none_comes_twice",
        "test_other_texts_are_refused",
        "test_reshaped_changes_have_the_fields_of_today",
        "test_reshaped_changes_of_a_renamed_entity_have_its_name",
        "test_several_changes_of_a_record_in_one_transaction_are_one",
        "test_a_value_that_the_type_of_today_does_not_take_is_null",
        "test_what_a_statement_sees_is_a_position",
    }
