"""Evidence: seals over the rows of the trail, and what checks them."""
