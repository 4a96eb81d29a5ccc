"""Distinguishing experiments: what each model learns on and off general position, beside what the theory allows."""
