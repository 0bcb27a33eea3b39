"""MISSRec for RecBole: multi-modal, interest-aware sequential recommendation."""

__version__ = "0.1.0"
