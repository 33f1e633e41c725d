"""The server itself: its plugins and what they declare, and the engines that it runs on."""

from kernel.contracts.server import engines, pages, registry, routes
from kernel.contracts.server.engines import *
from kernel.contracts.server.pages import *
from kernel.contracts.server.registry import *
from kernel.contracts.server.routes import *

__all__: list[str] = []
__all__ += engines.__all__
__all__ += pages.__all__
__all__ += registry.__all__
__all__ += routes.__all__
