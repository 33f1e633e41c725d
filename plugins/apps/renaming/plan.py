"""The plan of an install: renames first, then everything else under the new names."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plugins.apps.models import Manifest
from plugins.apps.schema.current import Schema
from plugins.apps.schema.diff import diff
from plugins.apps.schema.steps import Plan
from plugins.apps.schema.tables import Relation, Table

from .names import FormerNames, compare_names
from .steps import Renaming


def compare(
    tables: Mapping[str, Table],
    schema: Schema,
    manifest: Manifest,
    users: Relation,
    installed: FormerNames,
) -> Plan:
    """Return the steps from a schema to the tables of a manifest.

    `installed` has the `was` of the manifest that is installed.
    """
    names = compare_names(manifest, schema, installed)
    renames = names.renames
    if renames.is_empty:
        plan = diff(tables, schema, manifest.app_id)
        plan.refusals.extend(names.refusals)
        return plan

    renaming = Renaming(manifest, renames, schema, users)
    plan = diff(tables, renaming.schema(), manifest.app_id)
    return msgspec.structs.replace(
        plan,
        steps=[*renaming.steps(), *plan.steps],
        refusals=[*plan.refusals, *names.refusals],
        renamed=renames.list_renamed(),
    )
