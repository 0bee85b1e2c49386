"""Candidate generators, features, ranker and re-ranking."""
