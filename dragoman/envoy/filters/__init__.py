"""Envoy's HTTP filters, one module each; `chain.py` has their order. See docs/add-a-filter.md."""
