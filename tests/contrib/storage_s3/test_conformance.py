"""A bucket keeps what STORAGE promises."""

import pytest

from kernel.testing.conformance import StorageConformance


class TestStorageS3(StorageConformance):
    provider = "storage_s3"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def bucket_of_the_class(cls, bucket):
        cls.overrides = {"plugins": {"storage_s3": bucket}}
