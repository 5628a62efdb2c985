"""Helpers of the repository: never part of the wheel."""
