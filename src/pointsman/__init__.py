"""One door to every large language model."""

__version__ = "0.1.0.dev0"
