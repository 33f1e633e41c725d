"""A bucket keeps what STORAGE promises."""

import pytest

from kernel.testing.conformance import StorageConformance


class TestStorageS3(StorageConformance):
    provider = "storage_s3"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def bucket_of_the_class(cls, bucket):
        cls.overrides = {"plugins": {"storage_s3": bucket}}

    @pytest.mark.slow
    def test_a_process_that_is_killed_while_it_writes_leaves_nothing(self, server, store):
        super().test_a_process_that_is_killed_while_it_writes_leaves_nothing(server, store)

    @pytest.mark.slow
    def test_to_write_again_renews_the_time(self, store):
        super().test_to_write_again_renews_the_time(store)
