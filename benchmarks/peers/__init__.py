"""The calls of other packages that do the same work, each written once, at its best: plans and buffers prepared.

Each function takes the inputs and returns a :class:`benchmarks.call.Call`; it raises
:class:`benchmarks.call.MissingPeer` where its package is not installed.
"""
