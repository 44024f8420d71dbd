"""Verified implementations behind the notebooks of the transfer-learning course."""

__version__ = "0.1.0"
