"""``brokerkit hashpw``: the bcrypt hash of a password, for KastleX's passwd.yml."""

from __future__ import annotations

import click

from brokerkit.cli import secret

LONGEST = 72  # bytes that bcrypt looks at
ROUNDS = 12  # as KastleX's own


@click.command()
@click.argument("password", required=False)
@click.option("--stdin", is_flag=True, help="Read the password from standard input, not from a prompt.")
@click.option("--generate", is_flag=True, help="Make a random password, and print it this once.")
def hashpw(password: str | None, stdin: bool, generate: bool) -> None:
    """Print the hash of a password, to be pasted into passwd.yml.

    PASSWORD on the command line is seen by everybody on this machine: leave it out, and it is asked for.
    """
    from bcrypt import gensalt
    from bcrypt import hashpw as hashed

    if password is not None and (stdin or generate):
        raise click.UsageError("PASSWORD, --stdin and --generate: give one of them")
    text = password if password is not None else secret.get("Password", stdin=stdin, generate=generate)
    data = text.encode(errors="surrogateescape")
    if not data or len(data) > LONGEST or b"\0" in data:
        raise click.UsageError(f"expected a password of 1 to {LONGEST} bytes, without NUL: bcrypt looks at no more")
    if generate:
        click.echo(text, err=True)
    click.echo(hashed(data, gensalt(ROUNDS)).decode("ascii"))
