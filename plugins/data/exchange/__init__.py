"""Exchange: records out and in as CSV and as JSON lines."""
