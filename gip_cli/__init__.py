"""Pick the few instruction-tuning rows that carry the information."""

from gip_cli.pursuit import Selection, select

__all__ = ["Selection", "select"]
