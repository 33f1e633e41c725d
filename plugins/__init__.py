"""The plugins of a default deployment."""

from typing import Final

from kernel.contracts.server import Bundle

BUNDLE: Final = Bundle(
    origin="built-in",
    on_by_default=True,
    safe={
        "system": {"safe": True},
        "postgres": {},
        "http_server": {},
        "notifications": {},
        "rbac": {},
        "auth": {"registration": "closed"},
        "console": {"safe": True},
        "authoring": {},
    },
    preferred={"statements": "pipeline"},
)
