"""What a component finds under this name is made of the WIT by componentize-py. This is the same for a Python that is not in
a component: editors, `pytest`, and the look at a plugin before it is built. The calls are answered by `state.host`, which
`pipewright.testing.Host` sets.

Owns what the layer uses of the WIT, and no more. Must not know the layer."""
