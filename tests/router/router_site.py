"""A configuration with a cheap model and a dear one, behind a provider that nobody reaches."""

CONFIG = """
[providers.o]
base_url = "http://127.0.0.1:9/v1"
auth = "none"
[models.small]
ref = "o:small"
price = { input = 0.1, output = 0.1 }
[models.big]
ref = "o:big"
price = { input = 10, output = 10 }
[routes.auto]
candidates = ["small", "big"]
dial = 0.4
"""
