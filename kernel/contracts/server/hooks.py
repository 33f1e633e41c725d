"""The hooks of a server: who implements them, and how they are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from kernel.contracts.base import Event, ServiceKey

__all__ = ["HOOKS", "HookBus", "HookStatistics", "Implementation", "Subjects"]

P = ParamSpec("P")
R = TypeVar("R")
Spec = Callable[P, Awaitable[R]]
"""The spec of an async hook."""


class Subjects(msgspec.Struct, kw_only=True):
    """The subjects that an implementation is limited to, as its marks say."""

    fixed: tuple[str, ...] = ("*",)
    """The patterns of `@for_subjects`."""
    find: Callable[[], Iterable[str]] | None = None
    """Returns the patterns at the moment, where `@subjects_from` names a method."""
    wants_old: bool = False
    """Whether it asks for the record before a change."""


class HookStatistics(Protocol):
    """What the calls of an implementation took, and how they ended."""

    observe: Callable[[float], None] | None
    """Called with the seconds of each call, where one measures more than this does."""

    @property
    def calls(self) -> int:
        """How many calls there were."""
        ...

    @property
    def seconds(self) -> float:
        """What all of them took."""
        ...

    @property
    def durations(self) -> Sequence[float]:
        """Seconds of the last calls."""
        ...

    @property
    def refusals(self) -> int:
        """Calls that raised a KernelError below 500, such as 401 or 403."""
        ...

    @property
    def errors(self) -> int:
        """Calls that failed."""
        ...

    @property
    def last_error(self) -> str:
        """Class and place; the message, which may hold values, is only in the log."""
        ...

    @property
    def failed_at(self) -> float:
        """Time of the last error, in seconds since the epoch."""
        ...


class Implementation(Protocol):
    """One plugin's implementation of one hook."""

    @property
    def plugin(self) -> str:
        """The name of the plugin."""
        ...

    @property
    def hook(self) -> str:
        """The name of the hook."""
        ...

    @property
    def function(self) -> Callable[..., Any]:
        """What is called."""
        ...

    @property
    def subjects(self) -> Subjects:
        """What limits it to some subjects."""
        ...

    @property
    def patterns(self) -> tuple[str, ...]:
        """The subjects that it is limited to at the moment."""
        ...

    @property
    def statistics(self) -> HookStatistics:
        """What its calls took, and how they ended."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether the breaker of an observer is open: it is skipped for a while."""
        ...

    def invoke(self, arguments: Mapping[str, Any]) -> Any:
        """Call a sync implementation."""
        ...

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call an async implementation.

        Raises HookTimeout after `[server] hook_timeout`, and HookFailed where a statement of it
        fails.
        """
        ...

    async def attempt(self, arguments: Mapping[str, Any]) -> Any:
        """Call an observer, or skip it while its breaker is open.

        After five errors in a row it is called again after 10 seconds, then after growing pauses.
        """
        ...

    def note_failure(self, error: BaseException) -> Exception:
        """Count a failure and return the error to raise, with a note that names the plugin."""
        ...

    def locate(self, error: BaseException) -> str:
        """Return the source location of an error within the plugin, or of the implementation."""
        ...


class HookBus(Protocol):
    """The hooks of one application.

    `Spec[P, R]` is the spec of an async hook with the arguments P and the answer R. Arguments are
    passed by name.
    """

    def implementations(self, spec: Callable[..., Any] | str) -> Sequence[Implementation]:
        """Return the implementations of a hook, in the order of calls."""
        ...

    def all_implementations(self) -> Iterator[Implementation]:
        """Return every implementation of every hook."""
        ...

    def listeners(self, spec: Callable[..., Any], subject: str) -> Sequence[Implementation]:
        """Return the implementations that match `subject` (`crm.contacts`), looked up once."""
        ...

    def collect(
        self, spec: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> list[tuple[str, R]]:
        """Call a sync hook and return (plugin, result) pairs, without the Nones."""
        ...

    async def first(self, spec: Spec[P, R | None], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the first answer that is not None."""
        ...

    async def gather(self, spec: Spec[P, R | None], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Return every answer that is not None; an exception is raised."""
        ...

    async def emit(self, spec: Spec[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the matching implementations in order; an exception stops and is raised."""
        ...

    async def notify(self, spec: Spec[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call the matching implementations; their errors are logged, never raised."""
        ...

    async def notify_committed(self, events: Sequence[Event]) -> None:
        """Call `event_committed` for the events of one commit, in order.

        A caller that is cancelled waits for it: for 30 seconds in all at most, or `[server]
        hook_timeout` where that is longer. The log says how many events were left out then.
        """
        ...


HOOKS = ServiceKey[HookBus]("hooks")
"""The bus as a service, for plugins that call hooks themselves."""
