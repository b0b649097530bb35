"""What ``nats-server -h`` and ``--help_tls`` show of the flags that brokerkit has."""

USAGE = """\
Usage: nats-server [options]

This is brokerkit in the place of nats-server. One dash or two; a value may stand behind = or a blank.

Listening
  -a, --addr, --net HOST        address for clients (0.0.0.0)
  -p, --port PORT               port for clients (4222); -1 is any that is free
  -n, --name, --server_name NAME
  -m, --http_port PORT          pages of monitoring by HTTP
  -ms, --https_port PORT        pages of monitoring by HTTPS
      --client_advertise HOST:PORT
                                what clients are told instead of the address that they have come to
  -P, --pid FILE                write the process id there
      --ports_file_dir DIR      write nats-server_<pid>.ports there: who listens where, as JSON

Configuration
  -c, --config FILE             nats-server's configuration file; flags are stronger
  -t                            test the file and exit
      --lenient                 warn of what is not supported instead of refusing it (or BROKERKIT_LENIENT=1)
  -sl, --signal SIGNAL[=PID]    signal a server that runs: ldm, stop, quit, term, reopen, reload;
                                PID is a process id or a file with one

Log
  -l, --log FILE                write there instead of to standard error
  -T, --logtime                 with the time (on); -T=false without
      --logtime_utc             the time of UTC
  -D, --debug                   say more
  -V, --trace, -VV, -DV, -DVV   accepted: the protocol itself is not written to the log

Logins
      --user NAME --pass PASSWORD
      --auth TOKEN

TLS (see --help_tls)
      --tls --tlscert FILE --tlskey FILE
      --tlsverify --tlscacert FILE

Accepted with a warning, and ignored
  -js, --jetstream  -sd, --store_dir DIR  --cluster URL  --cluster_name NAME  --cluster_listen URL
  --cluster_advertise URL  --routes URLS  --no_advertise  --connect_retries N  --profile PORT
  -s, --syslog  -r, --remote_syslog ADDRESS

  -h, --help                    this text
  -v, --version                 the version of nats-server that clients are told
"""

TLS = """\
TLS by flags:

  nats-server --tls --tlscert server.crt --tlskey server.key
  nats-server --tlsverify --tlscert server.crt --tlskey server.key --tlscacert authority.crt

or in the configuration file:

  tls {
    cert_file: "server.crt"
    key_file:  "server.key"
    ca_file:   "authority.crt"   # with verify: who may connect at all
    verify:    true
    timeout:   2
  }
"""
