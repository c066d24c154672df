"""The store in PostgreSQL: many processes on many machines, one log."""
