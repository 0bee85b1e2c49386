"""Identity: which user ids of several sources are of one person."""
