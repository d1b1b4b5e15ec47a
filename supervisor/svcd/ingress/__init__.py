"""HTTP in front of the entry service. Knows HTTP, not the app's types: bodies go to the entry as they came."""
