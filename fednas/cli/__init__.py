"""The ``fednas`` command."""

from fednas.cli._app import app, main

__all__ = ["app", "main"]
