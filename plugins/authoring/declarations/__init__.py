"""Types for the records of an app, in TypeScript and Python."""
