"""A server that speaks OpenAI's API, for tests: chat completions and Responses."""
