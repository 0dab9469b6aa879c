"""The shapes of the documents that this language reads, one module per kind.

They are plain dataclasses rather than pydantic's `BaseModel`s: frozen, with slots, validated by the same Rust
core, but five times smaller and faster to compare, and ten thousand of them are kept. Field names are
snake_case here and camelCase in documents. Limits, enumerations, defaults and patterns are those of the
Gateway API v1.6 CRDs; rules that span several fields stand in `rules_*.py`. `decode` is the only caller
of the validators; everyone else reads the fields.
"""
