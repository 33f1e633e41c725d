"""Files: where their content is stored, and which of them records hold."""

from kernel.contracts.files import managed, storage
from kernel.contracts.files.managed import *
from kernel.contracts.files.storage import *

__all__: list[str] = []
__all__ += managed.__all__
__all__ += storage.__all__
