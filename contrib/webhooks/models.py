"""Webhooks and deliveries, as REST shows them and as the tables store them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kernel.public import Where

On = Literal["enter", "change", "leave"]
State = Literal["pending", "delivered", "failed"]
EVENTS: Final[tuple[On, ...]] = get_args(On)
STATES: Final[tuple[State, ...]] = get_args(State)
SECRET_URL: Final = r"\$secret:[A-Za-z_][A-Za-z0-9_]{0,127}"
"""A URL that is the value of a secret of the app."""

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Url = Annotated[str, Meta(min_length=1, max_length=2000)]
EntityName = Annotated[str, Meta(min_length=1, max_length=63)]
Events = Annotated[list[On], Meta(min_length=1, max_length=10)]
FieldNames = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=63)]], Meta(min_length=1, max_length=500)
]
RoleName = Annotated[str, Meta(min_length=1, max_length=100)]


class NewHook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST …/webhooks. `as` names the role whose rights decide what is sent."""

    name: Name
    url: Url
    entity: EntityName
    on: Events = msgspec.field(default_factory=lambda: [*EVENTS])
    where: Where | None = None
    fields: FieldNames | None = None
    role: RoleName | None = msgspec.field(default=None, name="as")
    enabled: bool = True


class HookChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of PATCH …/webhooks/{id}: what is left out stays as it is."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    entity: EntityName | UnsetType = UNSET
    on: Events | UnsetType = UNSET
    where: Where | UnsetType | None = UNSET
    fields: FieldNames | UnsetType | None = UNSET
    role: RoleName | UnsetType | None = msgspec.field(default=UNSET, name="as")
    enabled: bool | UnsetType = UNSET


class ShownHook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as REST shows it. `reason` says why the server disabled it."""

    id: str
    name: str
    url: str
    entity: str
    on: list[On]
    where: Where | None
    fields: list[str] | None
    role: str | None = msgspec.field(name="as")
    enabled: bool
    reason: str | None
    failing_since: str | None
    created_at: str
    updated_at: str


class CreatedHook(ShownHook, frozen=True, kw_only=True):
    """A new webhook with its secret, which no other reply shows."""

    secret: str


class Secret(msgspec.Struct, frozen=True):
    """A secret, shown once."""

    secret: str


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a webhook."""

    id: str
    app_id: str
    name: str
    url: str
    entity: str
    on: list[On]
    where: dict[str, Any] | None
    fields: list[str] | None
    role: str | None
    enabled: bool
    declared: bool
    is_failing: bool
    position: str | None
    begins: str | None

    @property
    def config(self) -> tuple[object, ...]:
        """What following and sending depend on."""
        return (self.name, self.url, self.entity, self.on, self.where, self.fields, self.role)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as a manifest declares it, with defaults applied."""

    name: str
    url: str
    entity: str
    on: list[On]
    where: dict[str, Any] | None
    fields: list[str] | None
    role: str | None


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to be queued. `place` and `at` are the id and the time of the change.

    `basis` names the rights and conditions that its body was made with.
    """

    id: str
    hook_id: str
    place: int
    event: On
    entity: str
    record: str
    body: str
    basis: str
    at: str


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery whose time has come. `record` is the entity and the id of its record."""

    id: str
    record: str
    run: int
    attempts: int
    body: str
    basis: str | None


class Outdated(msgspec.Struct, frozen=True):
    """Deliveries that wait with bodies of another basis: the time of the oldest, ids by place."""

    since: datetime | None
    ids: dict[int, str]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an attempt. `status` is that of the reply; without a reply `error` says why."""

    status: int | None
    error: str | None
    ms: int = 0
    body: str = ""

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt makes of its delivery; `wait` are the seconds until the next one."""

    state: State
    wait: float | None = None
    is_gone: bool = False
    """Whether the receiver says that it is gone for good: its webhook is disabled."""


class ShownDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as REST shows it; `id` is the header `webhook-id`.

    `next_at` is null for one that has ended, and for one that waits for the one before it.
    """

    id: str
    event: On
    entity: str
    record: str
    state: State
    attempts: int
    status: int | None
    error: str | None
    at: str
    next_at: str | None


class DeliveryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/deliveries."""

    state: Annotated[State | None, Meta(description="deliveries in this state only")] = None
    limit: Annotated[int, Meta(ge=1, description="above 1000 it is 1000")] = 100
    before: Annotated[
        str | None, Meta(description="id of the last delivery of the previous page")
    ] = None


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where events are sent again: a position of an event, or a time."""

    since: Annotated[str, Meta(min_length=1, max_length=4000)]


class Replayed(msgspec.Struct, frozen=True):
    """The number of deliveries that wait again."""

    queued: int


class Tested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a receiver answered a test. Without an answer `status` is null and `error` says why."""

    status: int | None
    ms: int
    body: str | None = None
    error: str | None = None
