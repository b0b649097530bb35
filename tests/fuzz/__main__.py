"""``python tests/fuzz TARGET [LIBFUZZER'S FLAGS]``: have atheris look for inputs with which pure and compiled differ.

``make fuzz`` builds what this needs: modules that say where they have been (``-fsanitize=fuzzer-no-link``) and that end
the process at the first byte out of bounds (``address``).  What is found is written as ``crash-...``; into the corpus
with it, and it is a test.
"""

from __future__ import annotations

import sys

import atheris
from targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
