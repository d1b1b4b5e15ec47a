"""Pure decisions: no I/O, no clock, no chance; time and randomness are arguments."""
