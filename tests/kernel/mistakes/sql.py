"""Mistakes in statements."""

from __future__ import annotations

from tests.kernel.mistakes.mistake import FAILED, REFUSED, Mistake, handler, write

GUESTS = "create table caudex_{0}.guests (id int primary key, name text not null);"


def statement(sql: str, *params: str, method: str = "fetch") -> str:
    """Return a plugin whose route sends one statement."""
    arguments = ", ".join([f'"{sql}"', *params])
    return handler(f"""
        statements = self._services.get(STATEMENTS)
        return reply(await statements.{method}({arguments}))  # here
    """)


def transaction(*lines: str) -> str:
    """Return a plugin whose route runs these lines in a transaction."""
    inside = "\n            ".join(lines)
    return handler(f"""
        async def work(tx):
            {inside}

        await self._services.get(STATEMENTS).run(request.actor, work)
        return reply(dict())
    """)


STATEMENT = "correct the statement"
WRONG = {"error": "StatementFailed"}

SQL = {
    "sql_table": Mistake(
        title="a table is misspelt",
        body=statement("select json_agg(name) from caudex_sql_table.gusts"),
        tables=GUESTS.format("sql_table"),
        says={"detail": 'relation "caudex_sql_table.gusts" does not exist'},
        remedy=STATEMENT,
    ),
    "sql_no_table": Mistake(
        title="the migration that creates the table is missing",
        body=statement("select json_agg(name) from caudex_sql_no_table.guests"),
        says={"detail": 'relation "caudex_sql_no_table.guests" does not exist'},
        remedy=STATEMENT,
    ),
    "sql_column": Mistake(
        title="a column is misspelt",
        body=statement("select nam from caudex_sql_column.guests"),
        tables=GUESTS.format("sql_column"),
        says={"detail": 'column "nam" does not exist'},
        remedy=STATEMENT,
    ),
    "sql_insert": Mistake(
        title="a column is misspelt in an insert",
        body=statement("insert into caudex_sql_insert.guests (id, nam) values (1, 'x')",
                       method="execute"),
        tables=GUESTS.format("sql_insert"),
        says={"detail": 'column "nam" of relation "guests" does not exist'},
        remedy=STATEMENT,
    ),
    "sql_cast": Mistake(
        title="the type of a cast is misspelt",
        body=statement("select $1::txt", "'x'"),
        says={"detail": 'type "txt" does not exist'},
        remedy=STATEMENT,
    ),
    "sql_literal": Mistake(
        title="a literal is not of its type",
        body=statement("select '2o26-01-01'::date"),
        says={"detail": '2o26-01-01'},
        remedy=STATEMENT,
    ),
    "sql_function": Mistake(
        title="a function is misspelt",
        body=statement("select json_ag(1)"),
        says={"detail": "function json_ag(integer) does not exist"},
        remedy=STATEMENT,
    ),
    "sql_syntax": Mistake(
        title="a word of SQL is misspelt",
        body=statement("selct 1"),
        says={"detail": 'syntax error at or near "selct"'},
        remedy=STATEMENT,
    ),
    "sql_parameters": Mistake(
        title="a parameter is not given",
        body=statement("select $1::text || $2::text", "'x'"),
        says={"detail": "1 parameter"},
        remedy=STATEMENT,
    ),
    "sql_two": Mistake(
        title="two statements are sent as one",
        body=statement("select 1; select 2"),
        says={"detail": "multiple commands"},
        remedy=STATEMENT,
    ),
    "sql_object": Mistake(
        title="a parameter is a dict",
        body=statement("select $1::jsonb", "dict(a=1)"),
        says={"error": "TypeError"},
    ),
    "sql_value": Mistake(
        title="a cast does not fit the value, which a client may have sent",
        body=statement("select $1::int", "'Ada'"),
        event=REFUSED,
        status=400,
        says={"reason": 'invalid input syntax for type integer: "Ada"'},
        remedy="check the value before the statement, or correct the cast",
    ),
    "sql_unique": Mistake(
        title="a violated constraint is not handled",
        body=statement("insert into caudex_sql_unique.guests values (1, null)", method="execute"),
        tables=GUESTS.format("sql_unique"),
        event=REFUSED,
        status=400,
        says={"reason": "a value breaks a rule of the table"},
        remedy="check the value before the statement, or catch ConstraintViolation",
    ),
    "sql_begin": Mistake(
        title="a statement of its own begins a transaction",
        body=statement("begin", method="execute"),
        remedy="use statements.run",
    ),
    "sql_in_transaction": Mistake(
        title="a column is misspelt in a transaction",
        body=transaction('await tx.execute("select nothing from pg_class")  # here'),
        says={"detail": 'column "nothing" does not exist'},
        remedy=STATEMENT,
    ),
    "sql_swallowed": Mistake(
        title="a failed statement is swallowed, and the transaction goes on",
        body=transaction(
            "try:",
            '    await tx.execute("select 1 / 0")  # here',
            "except Exception:",
            "    pass",
            'await tx.execute("select 1")',
        ),
        says={"detail": "division by zero"},
        remedy="raise the error, or use tx.savepoint",
    ),
    "sql_swallowed_at_the_end": Mistake(
        title="a failed statement is swallowed, and the transaction ends",
        body=transaction(
            "try:",
            '    await tx.execute("select 1 / 0")  # here',
            "except Exception:",
            "    pass",
        ),
        says={"detail": "division by zero"},
        remedy="raise the error, or use tx.savepoint",
    ),
    "sql_commit": Mistake(
        title="a statement ends the transaction that it is part of",
        body=transaction(
            'await tx.execute("select 1")',
            'await tx.execute("commit")  # here',
            'await tx.execute("select 1")',
        ),
        remedy="remove the statement",
    ),
    "sql_late": Mistake(
        title="a transaction is used after its end",
        body=handler("""
            kept = []

            async def work(tx):
                kept.append(tx)

            await self._services.get(STATEMENTS).run(request.actor, work)
            await kept[0].execute("select 1")  # here
        """),
        says={"error": "RuntimeError"},
    ),
    "sql_in_hook": Mistake(
        title="a column is misspelt in a hook",
        body="""
            @hookimpl
            @for_subjects("oops.sql_in_hook")
            async def record_writing(self, tx, change):
                await tx.execute("select nothing from pg_class")  # here
        """,
        ask=write,
        event=FAILED,
        says={"detail": 'column "nothing" does not exist'},
        remedy=STATEMENT,
    ),
    "sql_swallowed_in_hook": Mistake(
        title="a hook swallows a failed statement, and the next one is another plugin's",
        body="""
            @hookimpl
            @for_subjects("oops.sql_swallowed_in_hook")
            async def record_writing(self, tx, change):
                try:
                    await tx.execute("select 1 / 0")  # here
                except Exception:
                    pass
        """,
        ask=write,
        says={"detail": "division by zero"},
        remedy="raise the error, or use tx.savepoint",
    ),
}  # fmt: skip
