"""What Ollama leaves behind and asks for, but its HTTP API: its store, its registry, its Modelfile."""
