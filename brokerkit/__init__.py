"""A message broker for several protocols: what comes in by one can leave by every other, under one set of permissions.

Start reading at ``run.py``, ``router.py``, ``deliver.py`` and ``session.py``; ``app.py`` puts it all together.
"""

__version__ = "0.1.0"
