"""What a gateway stores, and the only place with SQL."""
