"""The requests of the last hour: what each server process counted, and their sum."""
