"""Archives that are uploaded, and the versions that are built from them."""
