"""Lines and messages: whatever a worker says, the server only listens."""

import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.public import Caller
from plugins.workers.child import lines as lines_module
from plugins.workers.child.listener import Listener
from plugins.workers.child.protocol import (
    MAX_BATCH,
    MAX_FRAME,
    MAX_PARAMS,
    BatchedJob,
    CollectionOp,
    Discovered,
    InvalidOp,
    JobResult,
    Log,
    OpResult,
    Rpc,
    RpcResponse,
    Shutdown,
    decode_message,
    describe_value,
    encode_jobs,
    encode_message,
    find_ids,
    join_lines,
)

TAGS = ["discover", "rpc_response", "job_result", "job_progress", "log", "event", "collection_op"]


class Heard:
    def __init__(self, messages: bool = True):
        self.lines: list[bytes] = []
        self.cuts: list[tuple[bytes, bytes]] = []
        heard = self
        base = lines_module.OutputLines if messages else lines_module.ErrorLines

        class Splitter(base):
            def take_line(self, line: bytes) -> None:
                heard.lines.append(line)

            def take_cut_line(self, head: bytes, edges: bytes) -> None:
                heard.cuts.append((head, edges))

        self.splitter = Splitter(Listener())

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.splitter.feed(piece)
            self.hear()

    def close(self) -> None:
        self.splitter.close()
        self.hear()

    def hear(self) -> None:
        while self.splitter.has_line:
            self.splitter.pass_on()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=30))
def test_lines_are_the_same_however_they_arrive(pieces: list[bytes]):
    heard = Heard()
    heard.feed(*pieces)
    heard.close()
    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert heard.lines == [line.removesuffix(b"\r") for line in expected]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 100)
    monkeypatch.setattr(lines_module, "MAX_FRAME", 1000)
    monkeypatch.setattr(lines_module, "EDGE", 20)


@pytest.mark.usefixtures("small")
def test_a_long_line_is_cut_and_the_next_is_whole():
    heard = Heard()
    heard.feed(b"x" * 60, b"x" * 60, b"y" * 5000, b"\nnext\n")
    assert heard.lines == [b"next"]
    [(head, _)] = heard.cuts
    assert head == b"x" * 100


@pytest.mark.usefixtures("small")
def test_a_message_may_be_longer_and_shows_both_ends_when_it_is_too_long():
    heard = Heard()
    heard.feed(b"{" + b"m" * 900 + b"}\n")
    assert len(heard.lines[0]) == 902
    heard.feed(b'{"id":"r1",' + b"m" * 2000, b'","id":"r2"}\n', b"{}\n")
    [(head, edges)] = heard.cuts
    assert head.startswith(b'{"id":"r1"')
    assert list(find_ids(edges)) == ["r1", "r2"]
    assert heard.lines[1:] == [b"{}"]


@pytest.mark.usefixtures("small")
def test_on_stderr_nothing_is_a_message():
    heard = Heard(messages=False)
    heard.feed(b"{" + b"m" * 900 + b"}\n")
    assert not heard.lines
    assert len(heard.cuts) == 1


def test_an_endless_line_costs_no_memory():
    heard, piece = Heard(), b"x" * 65_536
    tracemalloc.start()
    for _ in range(2000):
        heard.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.slow
def test_a_line_of_many_small_pieces_costs_little_more_than_its_bytes():
    heard, count = Heard(), 300_000
    tracemalloc.start()
    heard.feed(b"{")
    for number in range(count):
        heard.feed(b"%06d" % number)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 6 * count
    heard.close()
    assert [len(line) for line in heard.lines] == [1 + 6 * count]


def test_a_line_that_is_handed_on_is_done_with_even_if_no_one_can_take_it():
    taken: list[bytes] = []

    class Refusing(Listener):
        def on_line(self, line: bytes) -> None:
            taken.append(line)
            raise ValueError("no handler can take it")

    splitter = lines_module.OutputLines(Refusing())
    splitter.feed(b"one\ntw")
    splitter.feed(b"o\nthree")
    splitter.close()
    for _ in range(3):
        with pytest.raises(ValueError, match="no handler"):
            splitter.pass_on()
    assert taken == [b"one", b"two", b"three"]
    assert not splitter.has_line


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_no_message(line: bytes):
    said = decode_message(line)
    assert said is None or line.startswith(b"{")


@settings(deadline=None)
@given(
    st.sampled_from(TAGS),
    st.sampled_from([b'"id":1', b'"id":"1"', b'"id":[]', b'"op":7', b'"data":"x"', b'"name":null']),
    st.binary(max_size=30)
    | st.sampled_from([b",x}", b',"data":{"a":', b"}", b"}}", b',"op":"\\ud800"}']),
)
def test_garbage_behind_what_does_not_fit_is_no_message_either(
    tag: str, member: bytes, rest: bytes
):
    line = b'{"type":"' + tag.encode() + b'",' + member + rest
    said = decode_message(line)
    assert said is None or json.loads(line)["type"] == tag


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "result", "error", "methods", "level", "message", "name", "data", "op", "entity",
             "call", "value", "more"]
        ),
        JSON,
        max_size=8,
    ),
    st.sampled_from([*TAGS, "rpc", "nonsense", 7, None]),
)  # fmt: skip
def test_messages_of_any_shape_are_read_or_are_none(fields: dict, tag: object):
    line = json.dumps({"type": tag, **fields}).encode("utf-8", "replace")
    said = decode_message(line)
    if tag not in TAGS:
        assert said is None
    if isinstance(said, RpcResponse | JobResult):
        assert said.id == fields["id"]
        assert said.failed == (fields.get("error") is not None)


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"rpc_response","id":"1","result":' + b"[" * 100_000,
        b'{"type":"rpc_response","id":"1","result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"rpc_response","id":"1","result":"\xff"}',
        b'{"type":"rpc_response","id":"1","result":NaN}',
        b'{"type":"rpc_response","id":1,"result":2}',
        b'{"type":"rpc_response"}',
        b'{"type":"log"}',
        b'{"type":"collection_op","op":"find","entity":"x"}',
        b'{"type":"collection_op","id":[],"op":"find","entity":"x"}',
        b'{"type":"collection_op","id":1,x}',
        b'{"type":"collection_op","id":1,"op":"\\ud800"}',
        b'{"id":1,"type":"collection_op"',
        b'{"type":"collection_op","id":1,"data":' + b"[" * 100_000,
        b'{"type":"collection_op","id":1,"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"{",
        b"{}",
        b"[]",
    ],
)
def test_what_cannot_be_read_is_no_message(line: bytes):
    assert decode_message(line) is None


@pytest.mark.parametrize(
    ("members", "op_id", "where"),
    [
        (b'"id":"1","op":["drop"],"entity":"x"', "1", "$.op"),
        (b'"id":"1","op":"insert","entity":"x","data":[{}]', "1", "$.data"),
        (b'"id":"1","op":"delete","entity":"x","data":null,"why":"x"', "1", "$.data"),
        (b'"id":7,"op":"find","entity":"x"', 7, "$.id"),
        (b'"id":"1"', "1", "op"),
    ],
)
def test_an_operation_that_does_not_fit_can_be_answered(members: bytes, op_id: object, where: str):
    said = decode_message(b'{"type":"collection_op",' + members + b"}")
    assert isinstance(said, InvalidOp)
    assert said.id == op_id
    assert where in said.why


def test_every_message_of_a_worker_can_be_read():
    assert isinstance(decode_message(b'{"type":"discover","methods":["a"]}'), Discovered)
    assert isinstance(decode_message(b'{"type":"discover"}'), Discovered)
    assert isinstance(decode_message(b'{"type":"discover","batches":[{"a":1}]}'), Discovered)
    said = decode_message(b' {"type":"rpc_response","id":"1","result":{"a": [1]}}'.strip())
    assert isinstance(said, RpcResponse)
    assert bytes(said.result) == b'{"a": [1]}'
    log = decode_message(b'{"type":"log","level":"warn","message":"x"}')
    assert isinstance(log, Log)
    op = decode_message(b'{"type":"collection_op","id":"1","op":"find","entity":"a","call":null}')
    assert isinstance(op, CollectionOp)
    assert op.call is None


def test_every_message_to_a_worker_is_one_line():
    caller = Caller(user_id="1", username="a\nb")
    messages = [
        Rpc(id="r1", method="a\nb", params=join_lines(b'{\n"a":\r\n1}'), caller=caller),
        OpResult(id="o1", result=join_lines(b"[1,\n2]")),
        OpResult(id="o1", error="no\nway"),
        Shutdown(),
    ]
    job = BatchedJob(id="j1", payload=join_lines(b"[\n1\n]"), caller=caller)
    for line in (*map(encode_message, messages), encode_jobs([job]), encode_jobs([job, job])):
        assert line.count(b"\n") == 1
        assert b"\r" not in line
        assert json.loads(line)["type"]
    said = json.loads(encode_message(messages[0]))
    assert said["caller"] == {"userId": "1", "username": "a\nb", "email": None, "authToken": ""}


def job(n: int, size: int = 0) -> BatchedJob:
    caller = Caller(user_id="1", username="a")
    return BatchedJob(id=f"j{n}", payload=msgspec.Raw(b'"' + b"}" * size + b'"'), caller=caller)


def read_by_hand(said: bytes) -> list[object]:
    """Ids of jobs, together where one message has them."""
    found = [json.loads(line) for line in said.splitlines()]
    return [
        [one["id"] for one in message["jobs"]] if message["type"] == "jobs" else message["id"]
        for message in found
    ]


def test_one_job_is_a_job_and_more_are_one_line_of_the_same_members():
    alone = encode_jobs([job(1)])
    assert json.loads(alone) == {
        "type": "job", "id": "j1", "payload": "",
        "caller": {"userId": "1", "username": "a", "email": None, "authToken": ""},
    }  # fmt: skip
    said = encode_jobs([job(1), job(2), job(3)])
    assert read_by_hand(said) == [["j1", "j2", "j3"]]
    assert said.endswith(b"}]}\n")
    assert {"type": "job", **json.loads(said)["jobs"][0]} == json.loads(alone)


def test_jobs_that_are_long_together_are_several_lines():
    size = MAX_BATCH // 4
    said = encode_jobs([job(n, size) for n in range(8)])
    assert read_by_hand(said) == [["j0", "j1"], ["j2", "j3"], ["j4", "j5"], ["j6", "j7"]]
    assert max(map(len, said.splitlines())) < MAX_BATCH


def test_no_line_of_jobs_is_longer_than_a_message_may_be():
    said = encode_jobs([job(0), job(1, MAX_PARAMS), job(2), job(3)])
    assert read_by_hand(said) == ["j0", "j1", ["j2", "j3"]]
    assert max(map(len, said.splitlines())) <= MAX_FRAME
    name = "n" * 1000
    caller = Caller(user_id=name, username=name, email=name, auth_token=name)
    many = [
        BatchedJob(id=f"j{n}", payload=msgspec.Raw(b"1" * (MAX_BATCH // 64)), caller=caller)
        for n in range(64)
    ]
    [line] = encode_jobs(many).splitlines()
    assert len(line) <= MAX_FRAME


@settings(deadline=None)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=12))
def test_every_job_is_there_once_and_in_order(sizes: list[int]):
    jobs = [job(n, size) for n, size in enumerate(sizes)]
    apart: list[object] = []
    for line in encode_jobs(jobs).splitlines():
        message = json.loads(line)
        apart += [{"type": "job", **one} for one in message.get("jobs", [])] or [message]
    assert apart == [json.loads(encode_jobs([one])) for one in jobs]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b'"plain"', "plain"), (b'{"message": "inner"}', "inner"), (b"[1]", "[1]"), (b"7", "7"),
        (b'{"code": 1}', '{"code": 1}'), (b'""', ""),
    ],
)  # fmt: skip
def test_errors_are_put_in_words(value: bytes, words: str):
    assert describe_value(msgspec.Raw(value)) == words
