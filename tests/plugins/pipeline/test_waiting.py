"""Owners take turns, and what one owner waits for keeps its order."""

from plugins.pipeline.waiting import WaitingLine


def test_owners_take_turns() -> None:
    line = WaitingLine[str]()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        line.append(item[0], item)
    assert line.count == 6
    assert line.next == "a1"
    assert line.oldest == ["a1", "b1", "c1"]
    assert [*line] == ["a1", "a2", "a3", "b1", "b2", "c1"]
    popped = [line.pop_next() for _ in range(4)]
    line.append("c", "c2")
    popped += [line.pop_next() for _ in range(3)]
    assert popped == ["a1", "b1", "c1", "a2", "b2", "a3", "c2"]
    assert not line.count
    assert line.oldest == []
