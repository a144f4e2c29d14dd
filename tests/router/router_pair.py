"""The pair of models in data/outcomes.jsonl."""

STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
