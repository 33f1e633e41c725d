"""Where reads go."""

from __future__ import annotations

import msgspec

from kernel.public import Reader, Reads, Statements, StreamReader, Transaction


class ReadSources(msgspec.Struct, frozen=True):
    """The connections that answer reads; a replica may be behind the last two.

    `statements` answers reads that a write, or the choice of a statement, depends on; `prompt`
    those of records and pages; `large` complete lists and aggregates.
    """

    statements: Statements
    prompt: Reader
    large: StreamReader

    @classmethod
    def choose(cls, statements: Statements, reads: Reads | None) -> ReadSources:
        """Send reads where READS wants them, if there is such a provider."""
        if reads is None:
            return cls(statements, statements, statements)
        return cls(statements, reads.prompt, reads.large)

    def choose_prompt(self, tx: Transaction | None) -> Reader:
        """Return what reads records and pages: the transaction, if there is one."""
        return self.prompt if tx is None else tx
