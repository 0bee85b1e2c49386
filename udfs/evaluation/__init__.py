"""Ranking metrics, calibration and their intervals."""
