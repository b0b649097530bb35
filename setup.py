"""Metadata stands in setup.cfg; compiled modules will be named here."""

from setuptools import setup

setup()
