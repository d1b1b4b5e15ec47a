"""Plain values that every floor shares: frozen, standard library only, no I/O."""
