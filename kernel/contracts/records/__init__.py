"""Records of apps: the service, what its calls carry, and types for documents."""

from kernel.contracts.records import calls, service, shapes
from kernel.contracts.records.calls import *
from kernel.contracts.records.service import *
from kernel.contracts.records.shapes import *

__all__: list[str] = []
__all__ += calls.__all__
__all__ += service.__all__
__all__ += shapes.__all__
