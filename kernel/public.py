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
from kernel.toolkit.keys import check_key, compare_key, load_key, server_key, sync_folder
from kernel.toolkit.lives import Lives
from kernel.toolkit.masking import Mask
from kernel.toolkit.shares import FairShare
from kernel.web.http import (
    MAX_BODY,
    Message,
    Request,
    Response,
    Route,
    decode,
    limit_of,
    limited,
    one_of,
    read_body,
    reply,
    stream_reply,
    whole_number,
)

__all__ = [
    "HOOKS",
    "KERNEL_API",
    "MAX_BODY",
    "BadRequest",
    "BatchLimits",
    "Batcher",
    "BootError",
    "BootErrors",
    "Command",
    "ConstraintViolation",
    "Context",
    "DatabaseQuery",
    "FairShare",
    "Finding",
    "Forbidden",
    "Health",
    "HookBus",
    "Implementation",
    "InvalidatedCache",
    "KernelError",
    "Lives",
    "ManifestSection",
    "Mask",
    "Message",
    "MethodNotAllowed",
    "Middleware",
    "NoConfig",
    "NotFound",
    "OpenServices",
    "Plugin",
    "Provider",
    "Request",
    "Response",
    "Retry",
    "Route",
    "SchemaChanged",
    "Section",
    "Services",
    "Throttled",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "check_key",
    "compare_key",
    "decode",
    "dialect",
    "failure",
    "for_subjects",
    "hookimpl",
    "hookspec",
    "hookspecs",
    "limit_of",
    "limited",
    "load_key",
    "nearest",
    "one_of",
    "provide",
    "read_body",
    "reply",
    "server_key",
    "stream_reply",
    "sync_folder",
    "whole_number",
]  # fmt: skip
__all__ += contracts.__all__
