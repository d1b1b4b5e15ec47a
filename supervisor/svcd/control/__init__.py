"""The daemon's own API, served on the control socket."""
