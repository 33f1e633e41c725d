"""The names that a plugin may use. Packaged as the module `caudex`: `from caudex import Plugin`."""

from kernel import hookspecs
from kernel.config import Section
from kernel.contracts.access import (
    ACCESS,
    ANY_USER,
    APP_ADMIN,
    APP_USER,
    CORE_ADMIN,
    PUBLIC,
    Access,
    Action,
    Assignment,
    Effective,
    Grant,
    Needs,
    Permission,
    Role,
    core_permission,
    entity,
)
from kernel.contracts.apps import (
    APPS,
    OWNER_COLUMN,
    App,
    Apps,
    Entity,
    Field,
    FieldType,
    InstallPlan,
    OnDelete,
    Reference,
)
from kernel.contracts.audit import AUDIT, Audit, AuditFilter
from kernel.contracts.events import Change, Event
from kernel.contracts.identity import IDENTITY, Actor, Identity, User, server_actor
from kernel.contracts.records import MAX_PAGE, RECORDS, Page, Records
from kernel.contracts.registry import REGISTRY, PluginInfo, Registry
from kernel.contracts.services import ServiceKey
from kernel.contracts.statements import (
    DATABASE_SERVER,
    NEWS,
    SETTINGS,
    STATEMENTS,
    DatabaseServer,
    News,
    Param,
    Query,
    Reader,
    Statements,
    Transaction,
    Writer,
)
from kernel.errors import (
    BadRequest,
    BootError,
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
    nearest,
)
from kernel.hooks import HOOKS, HookBus
from kernel.hookspecs import hookspec
from kernel.keys import check_key, load_key
from kernel.plugin import (
    KERNEL_API,
    Command,
    Context,
    Health,
    ManifestSection,
    Middleware,
    NoConfig,
    Offer,
    OpenServices,
    Plugin,
    concerns,
    hookimpl,
    offer,
)
from kernel.services import Services
from kernel.web import (
    MAX_BODY,
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
    "ACCESS", "ANY_USER", "APPS", "APP_ADMIN", "APP_USER", "AUDIT", "CORE_ADMIN",
    "DATABASE_SERVER", "HOOKS", "IDENTITY", "KERNEL_API", "MAX_BODY", "MAX_PAGE", "NEWS",
    "OWNER_COLUMN", "PUBLIC", "RECORDS", "REGISTRY", "SETTINGS", "STATEMENTS",
    "Access", "Action", "Actor", "App", "Apps", "Assignment", "Audit", "AuditFilter", "BadRequest",
    "BootError", "Change", "Command", "ConstraintBreach", "Context", "DatabaseServer", "Effective",
    "Entity", "Event", "Field", "FieldType", "Forbidden", "Grant", "Health", "HookBus", "Identity",
    "InstallPlan", "KernelError", "ManifestSection", "MethodNotAllowed", "Middleware", "Needs",
    "News", "NoConfig", "NotFound", "Offer", "OnDelete", "OpenServices", "Page", "Param",
    "Permission", "Plugin", "PluginInfo", "Query", "Reader", "Records", "Reference", "Registry",
    "Request", "Response", "Role", "Route", "SchemaChanged", "Section", "ServiceKey", "Services",
    "Statements", "Throttled", "TooLarge", "Transaction", "Unauthenticated", "Unavailable", "User",
    "Writer", "check_key", "concerns", "core_permission", "decode", "entity", "hookimpl",
    "hookspec", "hookspecs", "limit_of", "limited", "load_key", "nearest", "offer", "one_of",
    "read_body", "reply", "server_actor", "stream_reply", "whole_number",
]  # fmt: skip
