"""Checks a file of proofs with nothing but a public key: no server, no database, no settings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from kernel.public import BadRequest
from plugins.audit.evidence.merkle import root_from
from plugins.audit.evidence.seals import Link, Seal, SignedSeal, is_signed, read_link

from .files import EVIDENCE, EvidenceLine, Proof, read_row, split_runs

MAX_LINE: Final = 1_000_000_000
MAX_PROOF: Final = 1_000_000_000
"""Bytes of a line, and of a file with one proof. A row has some megabytes at most."""
ROW: Final = b'{"id":'


class Finding(msgspec.Struct, kw_only=True):
    """What a check found; without a problem the file is as it was sealed.

    `unsealed` rows are those that no seal vouches for yet. `first` and `last` are seals of the
    file. Where `has_gaps`, seals between them are missing in the file.
    """

    rows: int = 0
    unsealed: int = 0
    seals: int = 0
    first: Seal | None = None
    last: Seal | None = None
    has_gaps: bool = False
    is_complete: bool = True
    problem: str = ""


def check_file(path: Path, keys: Collection[str]) -> Finding:
    """Check an export or a proof. Raises BadRequest for a file that is neither."""
    try:
        with path.open("rb") as file:
            beginning = file.read(len(EVIDENCE))
            file.seek(0)
            if beginning.startswith((ROW, EVIDENCE)):
                return _check_export(file, keys)
            return _check_proof(file.read(MAX_PROOF), keys)
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}") from None


def _check_proof(content: bytes, keys: Collection[str]) -> Finding:
    try:
        proof = msgspec.json.decode(content, type=Proof)
        path = [bytes.fromhex(node) for node in proof.path]
        row = read_row(proof.row)
    except ValueError:
        problem = "the file is neither an export with proofs nor a proof"
        raise BadRequest(problem) from None
    link = read_link(SignedSeal(proof.statement, proof.signature))
    if link is None or not is_signed(link, keys):
        return Finding(problem=_not_signed(None if link is None else link.seal))
    shown = {proof.place: row.leaf}
    if not _has_root(link.seal, shown, path) or not _is_within(link.seal, [row.id]):
        return Finding(problem=f"the row is not the one that seal {link.seal.seal} vouches for")
    return Finding(rows=1, seals=1, first=link.seal, last=link.seal)


def _check_export(file: BinaryIO, keys: Collection[str]) -> Finding:
    finding = Finding()
    chain = _Chain(finding, keys)
    for number, line in enumerate(_read_lines(file), 1):
        problem = chain.add(line)
        if problem:
            finding.problem = f"line {number}: {problem}"
            return finding
    if chain.has_unproven_rows:
        finding.problem = "the file ends before the proof of its last rows"
    return finding


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    while True:
        line = file.readline(MAX_LINE)
        if not line:
            return
        yield line


class _Chain:
    """The lines of an export, one after the other; it keeps the rows of one seal."""

    def __init__(self, finding: Finding, keys: Collection[str]) -> None:
        self._finding = finding
        self._keys = keys
        self._leaves = list[bytes]()
        self._ids = list[int]()
        self._number: int | None = None
        """The seal that the kept rows name."""
        self._previous: Link | None = None

    @property
    def has_unproven_rows(self) -> bool:
        """Whether the proof of rows is still to come."""
        return bool(self._leaves)

    def add(self, line: bytes) -> str:
        """Take a line; return what is wrong, or an empty text."""
        if line.startswith(EVIDENCE):
            return self._prove(line)
        try:
            row = read_row(line)
        except ValueError:
            return "it is no row of an export with proofs"
        self._finding.rows += 1
        if self._leaves and row.seal != self._number:
            return f"the proof of the rows of seal {self._number} is missing"
        if row.seal is None:
            self._finding.unsealed += 1
            return ""
        self._number = row.seal
        self._leaves.append(row.leaf)
        self._ids.append(row.id)
        return ""

    def _prove(self, line: bytes) -> str:
        try:
            evidence = msgspec.json.decode(line, type=EvidenceLine).evidence
        except msgspec.DecodeError:
            return "it is no proof"
        link = read_link(SignedSeal(evidence.statement, evidence.signature))
        if link is None or not is_signed(link, self._keys):
            return _not_signed(None if link is None else link.seal)
        seal = link.seal
        problem = self._follow(link)
        if problem:
            return problem
        if self._leaves and self._number != seal.seal:
            return f"the rows before are of seal {self._number}, the proof is of seal {seal.seal}"
        if evidence.path is None:
            return f"the server could not prove the rows of seal {seal.seal}"
        try:
            path = [bytes.fromhex(node) for node in evidence.path]
            places = list(split_runs(evidence.shown, seal.rows))
            shown = dict(zip(places, self._leaves, strict=True))
        except ValueError:
            return f"the rows are not those that are proven of seal {seal.seal}"
        is_true = not shown or _has_root(seal, shown, path)
        if not is_true or not _is_within(seal, self._ids):
            problem = "a row was changed, removed or added"
            return f"the rows are not those that seal {seal.seal} vouches for: {problem}"
        self._finding.is_complete &= len(shown) == seal.rows
        self._leaves = []
        self._ids = []
        return ""

    def _follow(self, link: Link) -> str:
        """Check that a seal follows the one before in the file, where that is the next."""
        seal = link.seal
        previous = self._previous
        self._previous = link
        finding = self._finding
        finding.seals += 1
        finding.last = seal
        if previous is None:
            finding.first = seal
            return ""
        if seal.seal <= previous.seal.seal:
            return f"seal {seal.seal} comes behind seal {previous.seal.seal}"
        if seal.seal > previous.seal.seal + 1:
            finding.has_gaps = True
            return ""
        if seal.previous != previous.signed.hash():
            return f"seal {seal.seal} does not follow seal {previous.seal.seal}"
        return ""


def _has_root(seal: Seal, shown: dict[int, bytes], path: list[bytes]) -> bool:
    try:
        return root_from(seal.rows, shown, path).hex() == seal.root
    except ValueError:
        return False


def _is_within(seal: Seal, ids: Iterable[int]) -> bool:
    """Whether ids ascend within the range of a seal."""
    before = seal.after
    for row_id in ids:
        if not before < row_id <= seal.last:
            return False
        before = row_id
    return True


def _not_signed(seal: Seal | None) -> str:
    if seal is None:
        return "the seal cannot be read"
    return f"seal {seal.seal} is not signed by the key that was given; it names the key {seal.key}"
