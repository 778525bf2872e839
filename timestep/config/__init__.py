"""The configuration: its tables, its sources, and where each value came from."""
