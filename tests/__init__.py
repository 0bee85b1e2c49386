"""The tests; `make test` runs them in two of xdist's workers."""

import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:
    # PySpark takes a main module without a file for its doctests, and exits where gRPC is missing.
    sys.modules["__main__"].__dict__.setdefault("__file__", __file__)
