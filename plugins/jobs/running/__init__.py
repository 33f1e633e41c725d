"""How jobs run in a server process: claimed, handed to what runs them, their outcomes stored."""
