"""How calls reach the rate-limit service: a thin HTTP/2 server (`http2`) and grpc.aio (`grpc_aio`).

Both carry the same handlers (`base`). The thin one is for the two unary methods that are asked per request;
what streams goes over grpc.aio.
"""
