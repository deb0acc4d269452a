"""The PostgreSQL store's rooms: what they send is SQL, and asyncpg sends it."""
