"""The nouns that every other part shares. Nothing here does I/O."""
