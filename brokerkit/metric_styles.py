"""The ways in which the metrics of hpfeeds-broker can be called: a word each, apart from what makes metrics.

What makes them takes a while to import, and a broker that exports none is up sooner without.
"""

from __future__ import annotations

MODERN, LEGACY, BOTH, OFF = STYLES = ("modern", "legacy", "both", "off")
