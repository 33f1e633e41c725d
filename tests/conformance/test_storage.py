"""The folder keeps what STORAGE promises."""

from kernel.testing.conformance import StorageConformance


class TestStorage(StorageConformance):
    provider = "storage"
