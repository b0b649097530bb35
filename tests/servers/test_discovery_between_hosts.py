"""Discovery between two hosts: network namespaces with a virtual cable, a broker in one and a client in the other.

Making them needs root, and the right to it, which some containers do not have.  Without root these tests are skipped;
with root and ``BROKERKIT_SERVERS=required`` they have to be run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.registry_process import ROOT, Process
from tests.servers.programs import find, missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROKER, CLIENT, STRANGER = "10.77.31.1", "10.77.31.2", "192.0.2.9"
KEY = "a discovery key"
LISTEN = f"""
[[listen]]
protocol = "bpbroker"
endpoint = "tls:port=20443:interface=0.0.0.0"
discovery_key = "{KEY}"
"""

AS_THE_ORIGINAL = """
import socket, sys
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
asking.settimeout(float(sys.argv[2]))
asking.sendto(sys.argv[1].encode() + b"\\n", ("255.255.255.255", 20443))
try:
    answer, (host, port) = asking.recvfrom(1024)
except TimeoutError:
    print("No results")
else:
    print(answer.decode(), host, port)
"""
AS_OURS = """
import json, sys
from brokerkit.protocols.bpbroker.asking import ask
found = ask(sys.argv[1], key=sys.argv[2], timeout=float(sys.argv[3]))
print(json.dumps([[one.host, one.port, one.tls_sha256, one.id] for one in found]))
"""
READ = """
import hashlib, socket, ssl, sys
plain = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
with ssl._create_unverified_context().wrap_socket(plain) as one:
    print(hashlib.sha256(one.getpeercert(binary_form=True)).hexdigest())
"""
REGISTER = """
import http.client, ssl, sys
one = http.client.HTTPSConnection(sys.argv[1], 20443, timeout=10, context=ssl._create_unverified_context())
one.request("POST", "/services/Register/?name=web&data=here")
print(one.getresponse().status)
"""


def _do(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Hosts:
    """Two namespaces with a cable between them."""

    def __init__(self) -> None:
        """Make them; raise ``AssertionError`` with what the system says if that cannot be."""
        mark = uuid4().hex[:8]
        self.there, self.here = f"bk-{mark}-b", f"bk-{mark}-c"
        self._ends = f"bkb{mark}", f"bkc{mark}"
        try:
            for name in (self.there, self.here):
                _do("ip", "netns", "add", name)
            _do("ip", "link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
            for name, end, address in zip((self.there, self.here), self._ends, (BROKER, CLIENT), strict=True):
                _do("ip", "link", "set", end, "netns", name)
                self.run(name, "ip", "address", "add", f"{address}/24", "broadcast", "10.77.31.255", "dev", end)
                self.run(name, "ip", "link", "set", end, "up")
                self.run(name, "ip", "link", "set", "lo", "up")
                self.run(name, "ip", "route", "add", "default", "dev", end)
        except BaseException:
            self.remove()
            raise

    @staticmethod
    def run(host: str, *command: str) -> str:
        """Run a command on one of them, and give what it prints."""
        return _do("ip", "netns", "exec", host, *command)

    def python(self, program: str, *arguments: str) -> str:
        """Run a program on the client's host."""
        return self.run(self.here, "env", f"PYTHONPATH={ROOT}", sys.executable, "-c", program, *arguments).strip()

    def remove(self) -> None:
        """Take them away again; what is not there is none."""
        for name in (self.there, self.here):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=30, check=False)
        subprocess.run(["ip", "link", "del", self._ends[0]], capture_output=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """Make the hosts, or skip."""
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    if shutil.which("ip") is None:
        missing("ip (iproute2) is not installed")
    try:
        made = Hosts()
    except AssertionError as error:
        missing(f"network namespaces cannot be made here: {error}")
        raise
    yield made
    made.remove()


@pytest.fixture(scope="module")
def broker(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Run a broker on its host, with one entry."""
    running = Process(tmp_path_factory.mktemp("host"), [])
    file = running.home / "broker.toml"
    file.write_text(file.read_text() + LISTEN)
    running.start(find("ip"), "netns", "exec", hosts.there)
    try:
        assert hosts.python(REGISTER, BROKER) == "200"
        yield running
    finally:
        running.stop()


def _ours(hosts: Hosts, name: str, key: str = "", seconds: str = "3") -> list[Any]:
    found: list[Any] = json.loads(hosts.python(AS_OURS, name, key, seconds))
    return found


def test_as_the_original_asks(hosts: Hosts, broker: Process) -> None:
    """One broadcast of the name is answered with the original's bytes, from the broker's address and port."""
    assert broker.ports
    assert hosts.python(AS_THE_ORIGINAL, "web", "10") == f"Key Exists\n {BROKER} 20443"


def test_silence_for_what_is_not_there(hosts: Hosts, broker: Process) -> None:
    """A name that nobody has registered is not answered at all."""
    assert broker.ports
    assert hosts.python(AS_THE_ORIGINAL, "absent", "0.7") == "No results"


def test_as_our_client_asks(hosts: Hosts, broker: Process) -> None:
    """Our own client finds it without knowing where it is, and nothing that is not there."""
    assert broker.ports
    [[host, port, *_]] = _ours(hosts, "web")
    assert port == 20443
    assert host == BROKER or host.startswith("fe80:")
    assert _ours(hosts, "absent", "", "0.7") == []


def test_a_signed_answer(hosts: Hosts, broker: Process) -> None:
    """With the discovery key the answer is signed and names the certificate that the broker shows."""
    assert broker.ports
    [[host, port, fingerprint, _]] = _ours(hosts, "web", KEY)
    assert port == 20443
    assert hosts.python(READ, host, str(port)) == fingerprint
    assert _ours(hosts, "web", "another key", "0.7") == []


def test_a_stranger_is_not_answered(hosts: Hosts, broker: Process) -> None:
    """Who asks from an address that is in none of the broker's networks gets nothing."""
    assert broker.ports
    [device] = [end for end in hosts._ends if end.startswith("bkc")]
    hosts.run(hosts.there, "ip", "route", "add", f"{STRANGER}/32", "dev", hosts._ends[0])
    hosts.run(hosts.here, "ip", "address", "add", f"{STRANGER}/32", "dev", device)
    program = AS_THE_ORIGINAL.replace("asking.settimeout", f"asking.bind(('{STRANGER}', 0))\nasking.settimeout")
    direct = program.replace("255.255.255.255", BROKER)
    assert hosts.python(direct, "web", "0.7") == "No results"
    assert hosts.python(AS_THE_ORIGINAL.replace("255.255.255.255", BROKER), "web", "10").startswith("Key Exists")


def test_the_command(hosts: Hosts, broker: Process, tmp_path: Path) -> None:
    """``brokerkit bpclient discover`` prints the address, for a script to take."""
    assert broker.ports
    command = [sys.executable, "-m", "brokerkit", "bpclient", "discover", "--name", "web"]
    said = hosts.run(hosts.here, "env", f"PYTHONPATH={ROOT}", f"HOME={tmp_path}", *command).strip()
    assert said == BROKER or said.startswith("fe80:")
