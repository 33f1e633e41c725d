"""Files: where their content is stored, which of them records hold, and small pictures of them."""

from kernel.contracts.files import managed, storage, thumbnails
from kernel.contracts.files.managed import *
from kernel.contracts.files.storage import *
from kernel.contracts.files.thumbnails import *

__all__: list[str] = []
__all__ += managed.__all__
__all__ += storage.__all__
__all__ += thumbnails.__all__
