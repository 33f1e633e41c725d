"""What PostgreSQL is asked: statements and transactions, and the pool behind them."""

from kernel.contracts.statements import notifications, pool, settings, statements
from kernel.contracts.statements.notifications import *
from kernel.contracts.statements.pool import *
from kernel.contracts.statements.settings import *
from kernel.contracts.statements.statements import *

__all__: list[str] = []
__all__ += notifications.__all__
__all__ += pool.__all__
__all__ += settings.__all__
__all__ += statements.__all__
