"""Where reads go."""

from __future__ import annotations

import msgspec

from kernel.public import Reader, Reads, Statements, StreamReader, Transaction

from .gathered_records import GatheredRecords, LoneRecords, RecordSource
from .shared_reader import SharedReader


class ReadSources(msgspec.Struct, frozen=True):
    """The connections that answer reads; a replica may be behind the last two.

    `statements` answers reads that a write, or the choice of a statement, depends on; `prompt`
    those of pages, `records` those of single records; `large` complete lists and aggregates.
    """

    statements: Statements
    prompt: Reader
    records: RecordSource
    large: StreamReader

    @classmethod
    def choose(cls, statements: Statements, reads: Reads | None) -> ReadSources:
        """Send reads where READS wants them, if there is such a provider.

        Those of the primary are shared. A replica's are not: it depends on the request whether
        one may answer.
        """
        prompt: Reader = statements
        large: StreamReader = statements
        if reads is not None:
            prompt = reads.prompt
            large = reads.large
        if prompt is statements:
            return cls(statements, SharedReader(statements), GatheredRecords(statements), large)
        return cls(statements, prompt, LoneRecords(prompt), large)

    def choose_prompt(self, tx: Transaction | None) -> Reader:
        """Return what reads pages, and parts of records: the transaction, if there is one."""
        return self.prompt if tx is None else tx

    def choose_records(self, reader: Reader | None) -> RecordSource:
        """Return what reads single records: a transaction or another reader, if there is one."""
        return self.records if reader is None else LoneRecords(reader)
