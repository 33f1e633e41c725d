"""What users send: forms with files, and archives. Read within bounds, and never trusted."""
