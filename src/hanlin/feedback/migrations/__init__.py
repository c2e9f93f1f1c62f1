"""How older stores are brought to the tables of today, step by step (Alembic)."""
