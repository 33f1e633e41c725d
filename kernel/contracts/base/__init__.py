"""What all contracts use: actors, events, keys of services, and what plugins contribute."""

from . import actors, contributions, events, services
from .actors import *
from .contributions import *
from .events import *
from .services import *

__all__: list[str] = []
__all__ += actors.__all__
__all__ += contributions.__all__
__all__ += events.__all__
__all__ += services.__all__
