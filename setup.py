"""Metadata stands in setup.cfg; here are the compiled modules, which are built where that is possible."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from runpy import run_path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODULES = {
    "brokerkit._heart": "brokerkit/_heart.pyx",
    "brokerkit.protocols.nats._scanner": "brokerkit/protocols/nats/_scanner.pyx",
    "brokerkit.protocols.hpfeeds._scanner": "brokerkit/protocols/hpfeeds/_scanner.pyx",
}
LONG = 120  # characters of a reason: a compiler's whole command is none
PURE = os.environ.get("BROKERKIT_PURE", "") not in {"", "0"}  # nothing is to be compiled
STAMPING = run_path("brokerkit/stamp.py")
STAMP = STAMPING["stamp"](Path("brokerkit"))


class BuildWherePossible(build_ext):
    """Builds all of the compiled modules or, if that does not work, none: the pure code does the same."""

    def initialize_options(self) -> None:
        """Keep what Cython writes out of the source tree."""
        super().initialize_options()
        self.cython_c_in_temp = True

    def run(self) -> None:
        """Build, or say in one line why not."""
        try:
            import Cython  # noqa: F401  it translates the modules to C

            self.force = self.force or any(map(self.is_old, MODULES))
            super().run()
        except (Exception, SystemExit) as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[-1]
            why = why if len(why) < LONG else f"...{why[-LONG:]}"
            sys.stderr.write(f"brokerkit: no compiled modules, the pure Python code will do their work: {why}\n")
            for name in MODULES:  # of an earlier build, which may not fit this code
                Path(self.get_ext_fullpath(name)).unlink(missing_ok=True)
            self.extensions = self.distribution.ext_modules = []

    def is_old(self, name: str) -> bool:
        """Say whether there is a module of other sources, whatever the times of the files say."""
        there = Path(self.get_ext_fullpath(name))
        return there.exists() and STAMP.encode() not in there.read_bytes()


setup(
    cmdclass={"build_ext": BuildWherePossible},
    ext_modules=[
        Extension(
            name,
            [path],
            depends=[f"brokerkit/{source}" for source in STAMPING["SOURCES"]],
            define_macros=[("BROKERKIT_STAMP", f'"{STAMP}"')],
        )
        for name, path in ({} if PURE else MODULES).items()
    ],
)
