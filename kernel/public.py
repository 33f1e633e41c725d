"""The names that a plugin may use. Packaged as the module `caudex`: `from caudex import Plugin`."""

from kernel import contracts
from kernel.config.settings import Section
from kernel.contracts import *  # noqa: F403 - the list is `contracts.__all__`
from kernel.database import dialect
from kernel.errors import (
    BadRequest,
    BootError,
    BootErrors,
    ConstraintViolation,
    Forbidden,
    KernelError,
    MethodNotAllowed,
    NotFound,
    SchemaChanged,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
    failure,
    nearest,
)
from kernel.hooks import hookspecs
from kernel.hooks.bus import HOOKS, HookBus, Implementation
from kernel.hooks.hookspecs import hookspec
from kernel.hooks.plugin import (
    KERNEL_API,
    Command,
    Context,
    DatabaseQuery,
    Finding,
    Health,
    ManifestSection,
    Middleware,
    NoConfig,
    OpenServices,
    Plugin,
    Provider,
    for_subjects,
    hookimpl,
    provide,
)
from kernel.hooks.services import Services
from kernel.toolkit.batcher import Batcher, BatchLimits, Retry
from kernel.toolkit.cache import InvalidatedCache
from kernel.toolkit.files import sync_folder, write_file
from kernel.toolkit.installations import register_app, unregister_app
from kernel.toolkit.keys import Keyring, Keys, compare_key, load_key, server_key
from kernel.toolkit.limiter import ConcurrencyLimiter, RateLimiter
from kernel.toolkit.masking import Mask
from kernel.toolkit.names import HIDDEN, clean_display_name, clean_email, clean_username, fold_name
from kernel.toolkit.tasks import Tasks
from kernel.toolkit.values import (
    FIELD_KINDS,
    UUID_PATTERN,
    InvalidValue,
    ValueKind,
    coerce_value,
    is_uuid,
    parse_value,
    show_value,
)
from kernel.web.bodies import decode, limited, read_body
from kernel.web.http import (
    MAX_BODY,
    Message,
    Request,
    Response,
    Route,
    limit_of,
    one_of,
    reply,
    stream_reply,
    whole_number,
)

__all__ = [
    "FIELD_KINDS", "HIDDEN", "HOOKS", "KERNEL_API", "MAX_BODY", "UUID_PATTERN",
    "BadRequest", "BatchLimits", "Batcher", "BootError", "BootErrors", "Command",
    "ConcurrencyLimiter", "ConstraintViolation", "Context", "DatabaseQuery", "Finding",
    "Forbidden", "Health", "HookBus", "Implementation", "InvalidValue", "InvalidatedCache",
    "KernelError", "Keyring", "Keys", "ManifestSection", "Mask", "Message", "MethodNotAllowed",
    "Middleware", "NoConfig", "NotFound", "OpenServices", "Plugin", "Provider", "RateLimiter",
    "Request", "Response", "Retry", "Route", "SchemaChanged", "Section", "Services", "Tasks",
    "Throttled", "TooLarge", "Unauthenticated", "Unavailable", "ValueKind",
    "clean_display_name", "clean_email", "clean_username", "coerce_value", "compare_key",
    "decode", "dialect", "failure", "fold_name", "for_subjects", "hookimpl", "hookspec",
    "hookspecs", "is_uuid", "limit_of", "limited", "load_key", "nearest", "one_of",
    "parse_value", "provide", "read_body", "register_app", "reply", "server_key", "show_value",
    "stream_reply", "sync_folder", "unregister_app", "whole_number", "write_file",
]  # fmt: skip
__all__ += contracts.__all__
