"""Clusters among codes, and scores of clusterings: NumPy in, NumPy out; no network is known here."""
