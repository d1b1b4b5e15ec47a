"""The daemon's moving parts: replicas, services, and the app that holds them together."""
