"""The intermediate representation: frozen values between the translators and the encoder.

`model` is what a gateway is made of, `order` the precedence of routes, `hosts` the algebra of host
names, `match` the matcher behind `explain`, `dump` the readable form used by golden tests. The package
knows neither Kubernetes nor protobuf and imports the standard library, `dragoman.refs` and
`dragoman.diagnostics` only.
"""
