"""The command line: thin commands; what they know they ask of the daemon or of the configuration."""
