"""Background tasks: kept on disk from their submission on, and run by those who can. Knows nothing of HTTP."""
