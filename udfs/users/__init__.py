"""Who the users are: purchase-count models, a hazard of the next purchase, value, and segments."""
