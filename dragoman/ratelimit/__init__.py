"""The rate-limit service: answers Envoy's RateLimitService, alone or inside `dragoman run`."""
