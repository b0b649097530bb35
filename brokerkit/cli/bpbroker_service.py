"""How the service is started at boot: by a unit of systemd, or by an init script where there is no systemd.

Only files that brokerkit made are made anew or removed.  Everything is below ``root``, for whoever builds an image; the
tools of the system are run for ``/`` alone.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import attrs

from brokerkit.errors import OperatorError
from brokerkit.protocols.bpbroker.durable import write

NAME = "bpbroker"
MARK = "# Made by `brokerkit bpbroker install-service`."
INSTALLED = "Service installed successfuly and configured to start at boot.  Note service is not yet started"
PATIENCE = 60  # seconds for a tool of the system

UNIT = """\
{mark}
[Unit]
Description=Service registry (brokerkit bpbroker)
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
TimeoutStopSec=30
LimitNOFILE=65536
UMask=0077
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
"""

SCRIPT = """\
#!/bin/sh
{mark}
# chkconfig: 345 80 20
# description: Service registry (brokerkit bpbroker)
### BEGIN INIT INFO
# Provides:          bpbroker
# Required-Start:    $network $remote_fs
# Required-Stop:     $network $remote_fs
# Default-Start:     3 4 5
# Default-Stop:      0 1 2 6
# Short-Description: Service registry (brokerkit bpbroker)
### END INIT INFO

pidfile=${{BPBROKER_PIDFILE:-/var/run/bpbroker.pid}}
logfile=${{BPBROKER_LOGFILE:-/var/log/bpbroker.log}}

running() {{
    [ -s "$pidfile" ] && pid=$(cat "$pidfile") && kill -0 "$pid" 2>/dev/null
}}

start() {{
    if running; then
        echo "bpbroker is running (pid $pid)"
        return 0
    fi
    umask 077
    nohup {command} </dev/null >>"$logfile" 2>&1 &
    echo $! >"$pidfile"
    sleep 1
    if running; then
        echo "bpbroker is started (pid $pid)"
    else
        rm -f "$pidfile"
        echo "bpbroker has not started, see $logfile" >&2
        return 1
    fi
}}

stop() {{
    if ! running; then
        rm -f "$pidfile"
        echo "bpbroker is not running"
        return 0
    fi
    kill -TERM "$pid"
    seconds=0
    while running; do
        if [ "$seconds" -ge 30 ]; then
            kill -KILL "$pid"
            break
        fi
        sleep 1
        seconds=$((seconds + 1))
    done
    rm -f "$pidfile"
    echo "bpbroker is stopped"
}}

case "$1" in
    start) start ;;
    stop) stop ;;
    restart) stop && start ;;
    reload) running && kill -HUP "$pid" ;;
    status)
        if running; then
            echo "bpbroker is running (pid $pid)"
        else
            echo "bpbroker is not running"
            exit 3
        fi
        ;;
    *)
        echo "usage: $0 start|stop|restart|reload|status" >&2
        exit 2
        ;;
esac
"""


def find(root: Path) -> System:
    """Give what starts services on this machine."""
    has_systemd = (root / "run/systemd/system").is_dir()
    return Systemd(root) if has_systemd else Init(root)


def command(config: Path | None) -> list[str]:
    """Give the words that start the service."""
    told = ["--config", str(config)] if config is not None else []
    return [sys.executable, "-m", "brokerkit", "bpbroker", *told, "start"]


@attrs.frozen
class System:
    """What starts services; ``root`` is ``/`` unless an image is built.

    Where it is ``live`` the tools of the system are run.
    """

    root: Path
    live: bool = attrs.field()

    @live.default
    def _is_here(self) -> bool:
        return self.root == Path("/")

    @property
    def path(self) -> Path:
        """Where the file for the service is."""
        raise NotImplementedError

    def text(self, config: Path | None) -> str:
        """Give what is in that file."""
        raise NotImplementedError

    mode = 0o644

    def install(self, config: Path | None) -> None:
        """Write the file and have it used at boot; raise ``OperatorError`` if it is somebody else's."""
        self._see_own()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write(self.path, [self.text(config).encode()])
        self.path.chmod(self.mode)
        self.enable()

    def uninstall(self) -> None:
        """Stop it, and remove the file if it is ours; nothing is there to do without one."""
        if self.path.exists():
            self._see_own()
            self.disable()
            self.path.unlink()
            self.forget()

    def enable(self) -> None:
        """Have it started at boot."""
        raise NotImplementedError

    def disable(self) -> None:
        """Stop it, and have it started no more."""
        raise NotImplementedError

    def forget(self) -> None:
        """See that it is known no more; the file is gone."""

    def start(self) -> None:
        """Start it now."""
        raise NotImplementedError

    def _see_own(self) -> None:
        if self.path.exists() and MARK.encode() not in self.path.read_bytes():
            raise OperatorError(f"{self.path}: was not made by brokerkit: move it away, then try again")

    def _run(self, *words: str) -> None:
        """Run a tool of the system; raise ``OperatorError`` where it fails."""
        if not self.live:
            return
        try:
            done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OperatorError(f"{shlex.join(words)}: {error}") from None
        if done.returncode:
            raise OperatorError(f"{shlex.join(words)}: {(done.stderr or done.stdout).strip() or done.returncode}")


class Systemd(System):
    """A unit."""

    @property
    def path(self) -> Path:
        """Where the unit is."""
        return self.root / "etc/systemd/system/bpbroker.service"

    def text(self, config: Path | None) -> str:
        """Give the unit."""
        return UNIT.format(mark=MARK, command=" ".join(map(_unit_word, command(config))))

    def enable(self) -> None:
        """Have it started at boot."""
        if self.live:
            self._run("systemctl", "daemon-reload")
            self._run("systemctl", "enable", NAME)
            return
        wants = self.path.parent / "multi-user.target.wants" / self.path.name
        wants.parent.mkdir(exist_ok=True)
        wants.unlink(missing_ok=True)
        wants.symlink_to(f"../{self.path.name}")

    def disable(self) -> None:
        """Stop it, and have it started no more."""
        self._run("systemctl", "disable", "--now", NAME)

    def forget(self) -> None:
        """Have systemd look at its units again."""
        self._run("systemctl", "daemon-reload")

    def start(self) -> None:
        """Start it now."""
        self._run("systemctl", "restart", NAME)


class Init(System):
    """An init script."""

    mode = 0o755

    @property
    def path(self) -> Path:
        """Where the script is."""
        return self.root / "etc/init.d/bpbroker"

    def text(self, config: Path | None) -> str:
        """Give the script."""
        return SCRIPT.format(mark=MARK, command=shlex.join(command(config)))

    def enable(self) -> None:
        """Have it started at boot, by whichever tool there is."""
        for words in (
            ("chkconfig", "--add", NAME),
            ("update-rc.d", NAME, "defaults"),
            ("rc-update", "add", NAME, "default"),
        ):
            if shutil.which(words[0]):
                self._run(*words)
                return
        if self.live:
            text = "chkconfig, update-rc.d or rc-update is needed to have it started at boot"
            raise OperatorError(f"{self.path} is installed, but {text}")

    def disable(self) -> None:
        """Stop it, and have it started no more."""
        self._run(str(self.path), "stop")
        for words in (("chkconfig", "--del", NAME), ("update-rc.d", "-f", NAME, "remove"), ("rc-update", "del", NAME)):
            if shutil.which(words[0]):
                self._run(*words)
                return

    def start(self) -> None:
        """Start it now."""
        self._run(str(self.path), "restart")


def _unit_word(word: str) -> str:
    """Give a word as it stands in a unit."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(letter.isspace() or letter in "\"'\\" for letter in word) else escaped
