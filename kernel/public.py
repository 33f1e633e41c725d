"""The names that a plugin may use. Packaged as the module `caudex`: `from caudex import Plugin`."""

from kernel import contracts, dialect, hookspecs
from kernel.config import Section
from kernel.contracts import *  # noqa: F403 - the list is `contracts.__all__`
from kernel.errors import (
    BadRequest,
    BootError,
    BootErrors,
    ConstraintBreach,
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
from kernel.hooks import HOOKS, HookBus, Implementation
from kernel.hookspecs import hookspec
from kernel.keys import check_key, compare_key, load_key, server_key, sync_folder
from kernel.lives import Lives
from kernel.masking import Mask
from kernel.plugin import (
    KERNEL_API,
    Ask,
    Command,
    Context,
    Health,
    ManifestSection,
    Middleware,
    NoConfig,
    Offer,
    OpenServices,
    Plugin,
    Remark,
    concerns,
    hookimpl,
    offer,
)
from kernel.services import Services
from kernel.shares import Shares
from kernel.web import (
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
    "HOOKS", "KERNEL_API", "MAX_BODY", "Ask", "BadRequest", "BootError", "BootErrors", "Command",
    "ConstraintBreach",
    "Context", "Forbidden", "Health", "HookBus", "Implementation", "KernelError", "Lives",
    "ManifestSection", "Mask", "Message", "MethodNotAllowed", "Middleware", "NoConfig", "NotFound",
    "Offer", "OpenServices", "Plugin", "Remark",
    "Request", "Response", "Route", "SchemaChanged", "Section", "Services", "Shares",
    "Throttled",
    "TooLarge", "Unauthenticated", "Unavailable", "check_key", "compare_key", "concerns", "decode",
    "dialect", "failure", "hookimpl", "hookspec", "hookspecs", "limit_of", "limited", "load_key",
    "nearest", "offer", "one_of", "read_body", "reply", "server_key", "stream_reply",
    "sync_folder", "whole_number",
]  # fmt: skip
__all__ += contracts.__all__
