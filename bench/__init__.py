"""Every number in docs/performance.md, measured again: ``python -m bench`` (see README.md)."""
