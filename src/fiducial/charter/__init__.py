"""What should happen: the charter an agent runs under, as people write it."""
