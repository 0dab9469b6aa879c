"""The command line: one module per command, loaded when it is called.

Data goes to stdout, talk to stderr. Exit codes: 0 fine, 1 findings, 2 usage or internal. Only this package
prints; everything else returns values or logs.
"""
