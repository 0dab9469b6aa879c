"""Admin HTTP: health, metrics, and the JSON behind the command line.

`views` makes plain data out of the program's values (the command line uses it offline too), `api` is the
table of what can be asked, `server` the aiohttp shell around it. Read-only, loopback by default, secrets
redacted."""
