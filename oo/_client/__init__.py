"""The clients: what callers hold, and the operations that build requests and read answers."""
