"""The names that a plugin may use. Packaged as the module `caudex`: `from caudex import Plugin`."""

from kernel import VERSION, contracts, errors
from kernel.contracts import *  # noqa: F403 - each module lists its names in `__all__`
from kernel.contracts import hookspecs
from kernel.contracts.apps import register_app, unregister_app
from kernel.contracts.hookspecs import for_subjects, hookimpl, hookspec, subjects_from
from kernel.database import dialect
from kernel.database.transactions import open_transaction
from kernel.errors import *  # noqa: F403
from kernel.errors.source_lines import code_of, declared_at, find_frames, source_line
from kernel.hooks import plugin
from kernel.hooks.plugin import *  # noqa: F403
from kernel.toolkit import values
from kernel.toolkit.addresses import LOOPBACK_NETWORKS, AddressRules, NoAddress, RefusedAddress
from kernel.toolkit.backoff import Backoff
from kernel.toolkit.batcher import Batcher, BatchLimits, Retry
from kernel.toolkit.blobs.verifying import CheckedBlob, check_blob, check_blobs
from kernel.toolkit.blobs.watching import WATCH_SECONDS, StorageWatch
from kernel.toolkit.cache import InvalidatedCache
from kernel.toolkit.changes import MAX_JUDGED_BYTES, cut_before_fill, cut_changes, judge_part
from kernel.toolkit.directory import AccountDirectory, show_users
from kernel.toolkit.files import (
    FILE_PIECE,
    full_disk,
    open_plain_file,
    read_small_file,
    sync_folder,
    write_file,
)
from kernel.toolkit.inference.columns import SheetBudget, SheetColumn
from kernel.toolkit.inference.csv_cells import allow_long_cells, find_delimiter, is_separator_line
from kernel.toolkit.inference.names import clean_name, title_of
from kernel.toolkit.inference.sheets import Sheet, as_rows, dialect_of, read_rows, read_sheet
from kernel.toolkit.limiter import ConcurrencyLimiter, RateLimiter
from kernel.toolkit.requests import on_behalf_of
from kernel.toolkit.saved.links import (
    LINK_HEADERS,
    LinkQuery,
    LinkRights,
    StoredLink,
    ViewOfLink,
    act_as_maker,
    check_link_maker,
    check_link_query,
    find_link_rights,
    read_expiry,
    read_link_view,
)
from kernel.toolkit.saved.renames import PresentNames, rename_keys, rename_link_query, rename_where
from kernel.toolkit.secrets.keys import Keyring, Keys, compare_key, server_key
from kernel.toolkit.secrets.sealing import SEAL_OVERHEAD, Unopenable, open_value, seal_value
from kernel.toolkit.secrets.tokens import MAX_TOKEN, TokenSigner
from kernel.toolkit.secrets.vaults import (
    RevealedSecrets,
    check_room_for_secret,
    missing_secret,
    record_secret,
    secret_path,
)
from kernel.toolkit.tasks import Tasks
from kernel.toolkit.uploads.archives import ArchiveRules, is_junk
from kernel.toolkit.uploads.multipart import FORM_FRAME, FormLimits, FormPart, FormReader
from kernel.toolkit.uploads.tar import unpack_tar
from kernel.toolkit.uploads.target import Unpacked
from kernel.toolkit.uploads.zips import unpack_zip
from kernel.toolkit.values import *  # noqa: F403
from kernel.web import event_streams, parameters, replies, requests, scope
from kernel.web.bodies import decode
from kernel.web.event_streams import *  # noqa: F403
from kernel.web.parameters import *  # noqa: F403
from kernel.web.replies import *  # noqa: F403
from kernel.web.requests import *  # noqa: F403
from kernel.web.scope import *  # noqa: F403

__all__ = [
    "FILE_PIECE", "FORM_FRAME", "LINK_HEADERS", "LOOPBACK_NETWORKS", "MAX_JUDGED_BYTES",
    "MAX_TOKEN", "SEAL_OVERHEAD", "VERSION", "WATCH_SECONDS", "AccountDirectory", "AddressRules",
    "ArchiveRules", "Backoff", "BatchLimits", "Batcher", "CheckedBlob", "ConcurrencyLimiter",
    "FormLimits", "FormPart", "FormReader", "InvalidatedCache", "Keyring", "Keys", "LinkQuery",
    "LinkRights", "NoAddress", "PresentNames", "RateLimiter", "RefusedAddress", "Retry",
    "RevealedSecrets", "Sheet", "SheetBudget", "SheetColumn", "StorageWatch", "StoredLink", "Tasks",
    "TokenSigner", "Unopenable", "Unpacked", "ViewOfLink", "act_as_maker", "allow_long_cells",
    "as_rows", "check_blob", "check_blobs", "check_link_maker", "check_link_query",
    "check_room_for_secret", "clean_name", "code_of", "compare_key", "cut_before_fill",
    "cut_changes", "declared_at", "decode", "dialect", "dialect_of", "find_delimiter",
    "find_frames", "find_link_rights", "for_subjects", "full_disk", "hookimpl", "hookspec",
    "hookspecs", "is_junk", "is_separator_line", "judge_part", "missing_secret", "on_behalf_of",
    "open_plain_file", "open_transaction", "open_value", "read_expiry", "read_link_view",
    "read_rows", "read_sheet", "read_small_file", "record_secret", "register_app", "rename_keys",
    "rename_link_query", "rename_where", "seal_value", "secret_path", "server_key", "show_users",
    "source_line", "subjects_from", "sync_folder", "title_of", "unpack_tar", "unpack_zip",
    "unregister_app", "write_file",
]  # fmt: skip
__all__ += contracts.__all__
__all__ += errors.__all__
__all__ += event_streams.__all__
__all__ += parameters.__all__
__all__ += replies.__all__
__all__ += requests.__all__
__all__ += plugin.__all__
__all__ += scope.__all__
__all__ += values.__all__
