"""The folder of an app: its manifest, its code, its frontend, and what was deployed from it."""
