"""Chat templates: parsed to a tree, checked and compared; never rendered."""
