"""Chains of models: if one cannot answer, the next one is asked."""
