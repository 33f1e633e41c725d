"""The folder keeps what STORAGE promises."""

import pytest

from kernel.testing.conformance import StorageConformance


class TestStorage(StorageConformance):
    provider = "storage"

    @pytest.mark.slow
    def test_a_process_that_is_killed_while_it_writes_leaves_nothing(self, server, store):
        super().test_a_process_that_is_killed_while_it_writes_leaves_nothing(server, store)

    @pytest.mark.slow
    def test_to_write_again_renews_the_time(self, store):
        super().test_to_write_again_renews_the_time(store)
