"""A run's report as one page that needs nothing else: which examples are in which cluster, and what the clusters are."""

from nvisa_tf.report.page import rename_report, write_report

__all__ = ["rename_report", "write_report"]
