"""The server itself: its plugins and what they declare, and the engines that it runs on."""

from kernel.contracts.server import (
    engines,
    frontends,
    hooks,
    inner,
    pages,
    registry,
    routes,
    settings,
    traffic,
    views,
)
from kernel.contracts.server.engines import *
from kernel.contracts.server.frontends import *
from kernel.contracts.server.hooks import *
from kernel.contracts.server.inner import *
from kernel.contracts.server.pages import *
from kernel.contracts.server.registry import *
from kernel.contracts.server.routes import *
from kernel.contracts.server.settings import *
from kernel.contracts.server.traffic import *
from kernel.contracts.server.views import *

__all__: list[str] = []
__all__ += engines.__all__
__all__ += frontends.__all__
__all__ += hooks.__all__
__all__ += inner.__all__
__all__ += pages.__all__
__all__ += registry.__all__
__all__ += routes.__all__
__all__ += settings.__all__
__all__ += traffic.__all__
__all__ += views.__all__
