"""Protocols, service keys and Structs that plugins share, and the rules of their values."""

from kernel.contracts import (
    access,
    apps,
    base,
    files,
    idempotency,
    identity,
    jobs,
    logs,
    records,
    server,
    statements,
    trail,
    vault,
    workers,
)
from kernel.contracts.access import *
from kernel.contracts.apps import *
from kernel.contracts.base import *
from kernel.contracts.files import *
from kernel.contracts.idempotency import *
from kernel.contracts.identity import *
from kernel.contracts.jobs import *
from kernel.contracts.logs import *
from kernel.contracts.records import *
from kernel.contracts.server import *
from kernel.contracts.statements import *
from kernel.contracts.trail import *
from kernel.contracts.vault import *
from kernel.contracts.workers import *

__all__: list[str] = []
__all__ += access.__all__
__all__ += apps.__all__
__all__ += base.__all__
__all__ += files.__all__
__all__ += idempotency.__all__
__all__ += identity.__all__
__all__ += jobs.__all__
__all__ += logs.__all__
__all__ += records.__all__
__all__ += server.__all__
__all__ += statements.__all__
__all__ += trail.__all__
__all__ += vault.__all__
__all__ += workers.__all__
