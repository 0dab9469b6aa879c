"""Where counts are kept: in this process (`memory`) or in Redis (`redis`), behind one protocol (`base`).

`guard` stands before a store that may fail and does what each limit says for that case.
"""
