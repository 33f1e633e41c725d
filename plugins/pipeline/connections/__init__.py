"""One connection in pipeline mode: its wire, the pairing of results, its health, who holds it."""
