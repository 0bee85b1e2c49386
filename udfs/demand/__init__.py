"""The demand model: counts by item, location and week."""
