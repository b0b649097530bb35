"""HTTP for every protocol that speaks it: one table of routes, which also writes OpenAPI.

A call gets an ``Asked`` and gives an ``Answer`` (or a coroutine, or a Deferred of one), a ``Stream`` for an answer that
goes on, or raises a ``Problem``.  ``Site`` is the factory that is listened with, ``HttpListener`` a service that does.
"""

from brokerkit.web.answer import Answer, Problem, Stream, json_answer
from brokerkit.web.asked import Asked, read_json
from brokerkit.web.listener import HttpListener
from brokerkit.web.openapi import openapi
from brokerkit.web.query import parse_query
from brokerkit.web.route import Parameter, Route
from brokerkit.web.site import Bounds, Site

__all__ = [
    "Answer",
    "Asked",
    "Bounds",
    "HttpListener",
    "Parameter",
    "Problem",
    "Route",
    "Site",
    "Stream",
    "json_answer",
    "openapi",
    "parse_query",
    "read_json",
]
