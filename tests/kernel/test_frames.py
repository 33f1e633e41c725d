"""The frames of threads are read without a collection of garbage in between."""

import gc
import sys
import threading
from types import FrameType

import pytest

from kernel.errors.source_lines import find_frames


@pytest.mark.parametrize("is_collecting", [True, False])
def test_no_garbage_is_collected_while_frames_are_read(
    monkeypatch: pytest.MonkeyPatch, is_collecting: bool
) -> None:
    """A server of tests stood still: its watch collected garbage there, and a thread began."""
    states = list[bool]()
    read = sys._current_frames

    def note() -> dict[int, FrameType]:
        states.append(gc.isenabled())
        return read()

    monkeypatch.setattr(sys, "_current_frames", note)
    if not is_collecting:
        gc.disable()
    try:
        frames = find_frames()
        assert states == [False]
        assert gc.isenabled() is is_collecting
    finally:
        gc.enable()
    assert threading.get_ident() in frames
