"""Chains of models: when one cannot answer, the next is asked."""
