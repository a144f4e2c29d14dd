"""The same words, as each kind of caller sends them."""

from __future__ import annotations


def asked(dialect, text, stream=False):
    """(path, body) of a request in a caller's dialect."""
    openai = {"model": "o:m", "messages": [{"role": "user", "content": text}], "stream": stream}
    if dialect == "openai":
        return "/v1/chat/completions", openai
    if dialect == "anthropic":
        return "/v1/messages", {**openai, "model": "a:m", "max_tokens": 5}
    if dialect == "translated":
        return "/v1/messages", {**openai, "max_tokens": 5}
    if dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/g:m:{verb}", {"contents": [{"parts": [{"text": text}]}]}
    if dialect == "ollama":
        return "/api/chat", openai
    if dialect == "generate":
        return "/api/generate", {"model": "o:m", "prompt": text, "stream": stream}
    if dialect == "completions":
        return "/v1/completions", {"model": "o:m", "prompt": text, "stream": stream}
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]
    return "/v1/responses", {"model": "o:m", "input": items, "stream": stream}
