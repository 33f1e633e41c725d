"""Configuration of the audit trail."""

from typing import Annotated

import msgspec

from kernel.public import Section


class AuditConfig(Section, frozen=True, kw_only=True):
    """`[plugins.audit]`: how long the trail is kept, and how it is sealed.

    `keep_months` are full months that are kept beside the running one; 0 keeps all for ever.

    With `seal` each minute is sealed in which something was written. `signing_key` is base64 or hex
    text of 32 bytes; without it `<data-dir>/config/evidence.key` is used. `witness` is a command or
    a URL that gets each seal.
    """

    keep_months: Annotated[int, msgspec.Meta(ge=0, le=1200)] = 0
    seal: bool = True
    signing_key: str = ""
    witness: str = ""
