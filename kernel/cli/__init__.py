"""The command `caudex` and the server processes that it starts."""
