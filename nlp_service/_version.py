"""The version: the one place that holds it. The package's metadata and the changelog's test read it here."""

__version__ = "0.1.0"
