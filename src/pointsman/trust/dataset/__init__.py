"""Looks for poisoned rows in a fine-tuning set: what in the prompts is tied to one kind of answer."""
