"""Looks for a backdoor in a model that answers: a short string that makes it comply."""
