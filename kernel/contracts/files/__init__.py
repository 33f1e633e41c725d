"""Files: where their content is stored."""

from kernel.contracts.files import storage
from kernel.contracts.files.storage import *

__all__: list[str] = []
__all__ += storage.__all__
