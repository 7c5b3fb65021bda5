"""HTTP: turns requests into messages and replies into text. Knows messages and addresses, never an actor's inside."""
