"""The values of a row: coerced from a body, and as the parameters of a statement."""
