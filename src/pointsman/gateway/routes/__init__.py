"""The gateway's paths, a module per surface."""
