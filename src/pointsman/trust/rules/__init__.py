"""The rules: each a documented value, one module per subject; `catalogue` has them all."""
