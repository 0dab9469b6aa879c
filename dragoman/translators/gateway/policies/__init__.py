"""Policies (GEP-713): which is in force where, how layers of them merge, and what each kind does.

    attach   targetRefs and selectors -> the policy in force at each target, and each policy's standing
    merge    layers, the most general first -> one spec, and who said each field
    stacks   the layers at a listener, a route, a rule, a backend
    effects  merged specs -> changed IR routes and clusters; one module per kind beside it

A new kind or section: docs/add-a-policy.md.
"""
