"""The incremental engine (`collection`) and this program's graph built with it (`pipeline`)."""
