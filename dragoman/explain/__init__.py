"""What happens to a request, and why: listener, virtual host, candidates, winner, action, backends.

`explain_request` asks `ir.match` and gives the outcome as plain data (JSON-ready) and as lines of text;
`Explanation.unmet` and `unmet` check expectations (`--expect`). Called by `dragoman explain` and the admin
API. The answer comes from the IR that Envoy's configuration is made of, so it says what Envoy does and not
what was meant. Objects are explained by `admin.anatomy`.
"""

from dragoman.explain.expect import unmet
from dragoman.explain.request import Explanation, explain_request
from dragoman.explain.text import lines
from dragoman.ir.request import Request, parse

__all__ = ["Explanation", "Request", "explain_request", "lines", "parse", "unmet"]
