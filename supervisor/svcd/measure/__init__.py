"""Load for a user's own running app, measured as a caller sees it."""
