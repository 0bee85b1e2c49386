"""Experiments on lists: who sees which variant, and what the variants are worth."""
