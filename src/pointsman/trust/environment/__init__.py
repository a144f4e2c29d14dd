"""The environment that a gateway runs in: its packages, start-up hooks and entry points."""
