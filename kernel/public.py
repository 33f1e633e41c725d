"""The names that a plugin may use. Packaged as the module `caudex`: `from caudex import Plugin`."""

from kernel import VERSION, contracts, errors
from kernel.config.settings import Section
from kernel.contracts import *  # noqa: F403 - each module lists its names in `__all__`
from kernel.contracts import hookspecs
from kernel.contracts.hookspecs import hookspec
from kernel.database import dialect
from kernel.database.installations import register_app, unregister_app
from kernel.errors import *  # noqa: F403
from kernel.hooks import plugin
from kernel.hooks.bus import HOOKS, HookBus, Implementation
from kernel.hooks.plugin import *  # noqa: F403
from kernel.hooks.services import Services
from kernel.toolkit.batcher import Batcher, BatchLimits, Retry
from kernel.toolkit.cache import InvalidatedCache
from kernel.toolkit.files import sync_folder, write_file
from kernel.toolkit.keys import Keyring, Keys, compare_key, load_key, server_key
from kernel.toolkit.limiter import ConcurrencyLimiter, RateLimiter
from kernel.toolkit.masking import Mask
from kernel.toolkit.names import HIDDEN, clean_display_name, clean_email, clean_username, fold_name
from kernel.toolkit.tasks import Tasks
from kernel.toolkit.values import InvalidValue, coerce_value, is_uuid, parse_value, show_value
from kernel.web import http
from kernel.web.bodies import decode, limited, read_body
from kernel.web.http import *  # noqa: F403

__all__ = [
    "HIDDEN", "HOOKS", "VERSION", "BatchLimits", "Batcher", "ConcurrencyLimiter", "HookBus",
    "Implementation", "InvalidValue", "InvalidatedCache", "Keyring", "Keys", "Mask", "RateLimiter",
    "Retry", "Section", "Services", "Tasks", "clean_display_name", "clean_email", "clean_username",
    "coerce_value", "compare_key", "decode", "dialect", "fold_name", "hookspec", "hookspecs",
    "is_uuid", "limited", "load_key", "parse_value", "read_body", "register_app", "server_key",
    "show_value", "sync_folder", "unregister_app", "write_file",
]  # fmt: skip
__all__ += contracts.__all__
__all__ += errors.__all__
__all__ += http.__all__
__all__ += plugin.__all__
