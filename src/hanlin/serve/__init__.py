"""A model over HTTP: OpenAI-compatible routes, batching, limits, metrics and the chat page."""
