"""Exact top-k search by inner product, on CPUs and GPUs."""
