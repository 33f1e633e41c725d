"""SQL of workers: what a caller may read, through a login that has no other rights."""
