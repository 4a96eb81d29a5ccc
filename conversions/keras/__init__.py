"""Keras files become modules of torch, without Keras."""
