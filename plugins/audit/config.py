"""Configuration of the audit trail."""

from typing import Annotated

import msgspec

from kernel.public import Section


class AuditConfig(Section, frozen=True, kw_only=True):
    """`[plugins.audit]`: how many full months of the trail are kept beside the running one.

    `keep_months = 0` keeps them for ever.
    """

    keep_months: Annotated[int, msgspec.Meta(ge=0, le=1200)] = 0
