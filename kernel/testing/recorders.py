"""Recorders of hook calls and of committed events."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, Self, TypeVar

import msgspec

from kernel.contracts.base import Event
from kernel.hooks.bus import PluggyBus
from kernel.hooks.implementation import HookImplementation

T = TypeVar("T")
MAX_ITEMS = 10_000
"""Items that a recorder keeps."""


class HookCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one plugin's implementation.

    `arguments` are those that the implementation takes, by name. `result` is what it returned,
    `error` what it raised.
    """

    plugin: str
    hook: str
    arguments: dict[str, Any]
    result: Any = None
    error: BaseException | None = None


class _Recorder(Generic[T]):
    """A list that the server's thread appends to, and the test's thread waits for."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._changed = threading.Condition()
        self._undo: list[Callable[[], None]] = []
        self._stopped = False

    def clear(self) -> None:
        """Remove what was recorded."""
        with self._changed:
            self._items.clear()

    def stop(self) -> None:
        """Stop recording; what was recorded stays."""
        self._stopped = True
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _wait(self, matches: Callable[[T], bool], count: int, timeout: float) -> Sequence[T]:
        def select() -> Sequence[T]:
            return [item for item in self._items if matches(item)]

        with self._changed:
            are_enough = self._changed.wait_for(lambda: len(select()) >= count, timeout)
            selected = select()
            recorded = tuple(self._items)
        assert are_enough, f"{len(selected)} of {count} within {timeout:g} s; recorded: {recorded}"
        return selected

    def _record(self, item: T) -> None:
        with self._changed:
            if len(self._items) < MAX_ITEMS and not self._stopped:
                self._items.append(item)
            self._changed.notify_all()

    def _all(self) -> Sequence[T]:
        with self._changed:
            return tuple(self._items)


class HookRecorder(_Recorder[HookCall]):
    """Records the calls of hook implementations; `server.record_hooks` makes it.

    The implementations run unchanged. A hook without an implementation is not recorded.
    """

    def __init__(self, bus: PluggyBus, specs: Sequence[Callable[..., Any]]) -> None:
        super().__init__()
        for spec in specs:
            for implementation in bus.implementations(spec):
                self._listen(spec.__name__, implementation)

    @property
    def calls(self) -> Sequence[HookCall]:
        """Return what was recorded, in order."""
        return self._all()

    def wait(
        self, count: int = 1, *, plugin: str | None = None, timeout: float = 10.0
    ) -> Sequence[HookCall]:
        """Wait for `count` calls of this plugin, or of any, and return them all.

        Raises AssertionError with what was recorded after `timeout` seconds.
        """
        return self._wait(lambda call: plugin in (None, call.plugin), count, timeout)

    def of(self, plugin: str) -> Sequence[HookCall]:
        """Return the calls of one plugin."""
        return [call for call in self._all() if call.plugin == plugin]

    def _listen(self, hook: str, implementation: HookImplementation) -> None:
        function = implementation.function
        names = implementation.arguments

        def record_call(values: Sequence[Any], **outcome: Any) -> None:
            arguments = dict(zip(names, values, strict=True))
            called = HookCall(
                plugin=implementation.plugin, hook=hook, arguments=arguments, **outcome
            )
            self._record(called)

        async def call(*values: Any) -> Any:
            try:
                result = await function(*values)
            except BaseException as error:
                record_call(values, error=error)
                raise
            record_call(values, result=result)
            return result

        def invoke(*values: Any) -> Any:
            try:
                result = function(*values)
            except Exception as error:
                record_call(values, error=error)
                raise
            record_call(values, result=result)
            return result

        def undo() -> None:
            """Restore the function, unless a later recorder has replaced it."""
            if implementation.function is recording:
                implementation.function = function

        recording = call if inspect.iscoroutinefunction(function) else invoke
        implementation.function = recording
        self._undo.append(undo)


class EventRecorder(_Recorder[Event]):
    """Records committed events; `server.record_events` makes it."""

    def __init__(self, bus: PluggyBus, subjects: Sequence[str]) -> None:
        super().__init__()

        async def event_committed(event: Event) -> None:
            self._record(event)

        listener = HookImplementation(f"recorder-{id(self)}", event_committed, ["event"])
        listener.subjects.fixed = tuple(subjects) or ("*",)
        bus.add(listener)
        self._undo.append(partial(bus.drop, listener.plugin))

    @property
    def events(self) -> Sequence[Event]:
        """Return what was recorded, in order."""
        return self._all()

    def wait(self, count: int = 1, *, timeout: float = 10.0) -> Sequence[Event]:
        """Wait for `count` events and return them all.

        Raises AssertionError with what was recorded after `timeout` seconds.
        """
        return self._wait(lambda _: True, count, timeout)
