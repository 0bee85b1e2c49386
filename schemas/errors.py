"""Errors that end a run, each with its exit code."""

from __future__ import annotations


class ConfError(Exception):
    """Wrong usage or configuration: exit code 2."""


class TooEarlyError(ConfError):
    """There is nothing yet that a job could judge: exit code 4; a scheduler skips it."""


class NoModelError(ConfError):
    """No model had been promoted by the date that was asked for."""


class DataError(Exception):
    """The data broke its contract: exit code 3; a retry will not help."""
