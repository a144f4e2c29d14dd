"""A conversation in the terminal: what `pointsman run` is made of."""
