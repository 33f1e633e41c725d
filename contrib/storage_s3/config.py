"""`[plugins.storage_s3]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class StorageS3Config(Section, frozen=True, kw_only=True):
    """The bucket, and how to reach it. `timeout` is in seconds, for each request to the store.

    Without keys those of the machine are used: variables `AWS_…`, a web identity, or the role of
    the instance. `endpoint` is for stores of others, as `http://127.0.0.1:9000`.
    """

    bucket: Annotated[str, Meta(min_length=1)]
    prefix: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = ""
    virtual_hosted: bool = False
    timeout: Annotated[float, Meta(ge=0.1, le=600)] = 30.0
