"""One worker process: its start, its messages and its stop."""
