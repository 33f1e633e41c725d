"""The plugins of a default deployment."""

SAFE = {"system": {}, "postgres": {}, "rbac": {}, "auth": {"registration": "closed"}}
"""Those of `caudex serve --safe`, with settings that it lays over the configured ones."""
