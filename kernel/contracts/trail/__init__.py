"""The trail as one ordered memory: what was committed, in the order in which to follow it."""

from kernel.contracts.trail import changes, live, recorded, traces, watches
from kernel.contracts.trail.changes import *
from kernel.contracts.trail.live import *
from kernel.contracts.trail.recorded import *
from kernel.contracts.trail.traces import *
from kernel.contracts.trail.watches import *

__all__: list[str] = []
__all__ += changes.__all__
__all__ += live.__all__
__all__ += recorded.__all__
__all__ += traces.__all__
__all__ += watches.__all__
