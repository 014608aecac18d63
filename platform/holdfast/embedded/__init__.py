"""PostgreSQL and Valkey from their Python wheels, run in a data folder."""
