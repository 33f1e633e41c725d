"""The steps of a deploy, what they would change, and how each is undone."""
