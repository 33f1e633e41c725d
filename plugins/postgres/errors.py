"""What goes wrong with the embedded PostgreSQL, said to the operator."""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot do what was asked; one line that says the fix."""
