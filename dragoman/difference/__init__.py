"""What a change does, before it is made: by resource, and by behaviour.

`resources` compares what Envoy gets, field by field. `behaviour` compares what happens to requests: sample
requests are made of the matches of the routes that differ, and put to the matcher of both sides; ports
that open and close and endpoints that come and go are listed beside them. Called by `dragoman snapshot
diff`.
"""

from dragoman.difference.behaviour import behaviour
from dragoman.difference.change import Change
from dragoman.difference.resources import fields, resources

__all__ = ["Change", "behaviour", "fields", "resources"]
