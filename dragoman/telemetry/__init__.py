"""What Dragoman says of itself while it runs: logs and metrics. Knows nothing of gateways or xDS."""
