"""Relations between items: what their texts say of them, by rules and by the catalogue's own words."""
