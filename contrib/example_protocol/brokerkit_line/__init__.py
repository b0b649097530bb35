"""A protocol of lines, as an example of how brokerkit is taught another one."""
