"""bpbroker: a registry of services that install scripts find by broadcast, over HTTPS and UDP at one port number."""
