"""How a write is carried out: by one statement, or in a transaction where plugins take part."""
