"""How a command of ``bpclient`` fails: one line on standard error, in the original's words, and an exit code."""

from __future__ import annotations

from typing import Any

import click

FAILED, NOT_FOUND, NOT_ALLOWED = 1, 3, 4  # the last two with --strict-exit only


class Fatal(Exception):
    """It cannot be done; ``code`` is the exit code that says why, for those who want to know."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        """Take what is said."""
        super().__init__(text)
        self.code = code


class FatalGroup(click.Group):
    """A group of commands that end with ``Fatal error: ...`` and exit code 1.

    What follows --cols up to the next option or command are columns, as argparse has it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give each column an option of its own."""
        found: list[str] = []
        columns = False
        for place, word in enumerate(args):
            if word.startswith("-") or (word in self.commands and not (columns and args[place - 1] == "--cols")):
                columns = word == "--cols"
                if not columns:
                    found.append(word)
                    if not word.startswith("-"):
                        return super().parse_args(ctx, [*found, *args[place + 1 :]])
            elif columns:
                found += "--cols", word
            else:
                found.append(word)
        return super().parse_args(ctx, found)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  what click gives
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Fatal as error:
            click.echo(f"Fatal error: {error}", err=True)
            ctx.exit(error.code if ctx.params.get("strict_exit") else FAILED)
