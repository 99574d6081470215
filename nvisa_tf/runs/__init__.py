"""Whole jobs over run directories."""
