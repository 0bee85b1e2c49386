"""Who converts on a campaign, and how places are allocated."""
