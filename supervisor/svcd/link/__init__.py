"""What daemon, workers and CLI say to each other, and the client for programs that have no loop."""
