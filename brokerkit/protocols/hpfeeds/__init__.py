"""hpfeeds: the wire protocol of honeypots."""
