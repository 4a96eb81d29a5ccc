"""Bare state dicts: what the layers are and how they chain, as far as keys and shapes say."""
