"""The trail as one ordered memory: what was committed, in the order in which to follow it."""

from kernel.contracts.trail import changes
from kernel.contracts.trail.changes import *

__all__: list[str] = []
__all__ += changes.__all__
