"""The check of a JSON body's shape, against a scanner that is too simple to be wrong."""

import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import BadRequest
from kernel.web.bodies import MAX_DEPTH, MAX_VALUES, decode

MAX_FAR = MAX_VALUES // 100
anything = msgspec.json.Decoder()
awkward = st.text(alphabet='[]{},:"\\ab\n', max_size=8)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | awkward,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(awkward, inner, max_size=4),
    max_leaves=60,
)


def depth_of(value: object) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


def refused(raw: bytes) -> bool:
    try:
        decode(raw, anything)
    except BadRequest:
        return True
    return False


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(trees, st.integers(min_value=0, max_value=MAX_DEPTH + 2), st.booleans())
def test_depth_is_reported_exactly(tree: object, levels: int, as_object: bool):
    for _ in range(levels):
        # Enough brackets beside it that the check looks closely.
        tree = {"[": tree, "]\\": "}" * 70} if as_object else [tree, "[" * 70, []]
    assert refused(json.dumps(tree).encode()) is (depth_of(tree) > MAX_DEPTH)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='[]{},:"\\u0ab ', max_size=60))
def test_what_is_no_json_is_refused_and_nothing_else_happens(text: str):
    raw = b"[" * 30 + text.encode() + b"[" * 40
    assert refused(raw)


@pytest.mark.parametrize("piece", [b"[],", b"1,", b'"",', b'{"":0},', b'",",'])
def test_too_many_values_are_refused(piece: bytes):
    many = b"[" + piece * (4 * MAX_VALUES // len(piece) + MAX_VALUES) + b"1]"
    with pytest.raises(BadRequest, match="more than"):
        decode(many, anything)


def test_a_long_text_is_one_value():
    raw = b'["' + b'a,b,[{\\"' * 500_000 + b'"]'
    assert len(decode(raw, anything)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b'"\\"', b'\\"', b"\\", b"[],", b"[", b'"",', b'",",', b"{,"])
def test_fifty_megabytes_of_anything_are_looked_through_quickly(piece: bytes):
    raw = b"[" * (MAX_DEPTH + 1) + piece * (50_000_000 // len(piece))
    started = time.process_time()
    with pytest.raises(BadRequest):
        decode(raw, anything)
    assert time.process_time() - started < 3


def test_a_body_of_closing_brackets_costs_no_step_of_the_interpreter_for_each():
    raw = b"[" * (MAX_DEPTH + 1) + b"]" * 50_000_000
    started = time.process_time()
    assert raw.translate(None, b",") == raw
    once = time.process_time() - started  # one whole-text operation and a comparison, say 0.1 s
    started = time.process_time()
    with pytest.raises(BadRequest, match="not valid JSON"):
        decode(raw, anything)
    assert time.process_time() - started < 12 * once


@pytest.mark.parametrize("number", [b"1e308", b"-5e-324", b"1.5E+0300 ", b"12345678901e290"])
def test_too_many_numbers_that_take_long_are_refused(number: bytes):
    """A million of them would hold up everyone for twelve seconds."""
    decode(b"[" + b",".join([number] * MAX_FAR) + b"]", anything)
    with pytest.raises(BadRequest, match="more than 10000 numbers beyond"):
        decode(b'{"a":[' + b",".join([number] * (MAX_FAR + 1)) + b"]}", anything)
    with pytest.raises(BadRequest, match="more than 10000 numbers beyond"):
        decode(b"[" + b",".join([b'{"e":%b}' % number] * (MAX_FAR + 1)) + b"]", anything)


def test_numbers_that_take_no_time_and_texts_may_be_many():
    for value in (b"1e99", b'"1e308,"', rb'"\\"', rb'"\"1e308]"', b'"0000-0000001e308"'):
        assert len(decode(b"[" + b",".join([value] * (3 * MAX_FAR)) + b"]", anything)) > MAX_FAR
