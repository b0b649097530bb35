"""The generator of load: what ``brokerkit bench`` and the developers' ``python -m bench`` measure with.

It is a program of its own that shares nothing with the broker but the file system: sockets and a selector, no reactor.
``workloads`` says what is measured, ``contestants`` who takes part; ``flood`` and ``loop`` do it, ``report`` tells.
"""
