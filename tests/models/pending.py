"""Rows that are not right yet, and what will be right; empty is the aim."""

PENDING: dict[str, str] = {}
