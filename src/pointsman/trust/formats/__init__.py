"""Readers of files that may be hostile: each field is checked before it is used, memory is bounded."""
