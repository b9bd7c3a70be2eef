"""Benchmarks on a GPU: ``python -m benchmarks.gpu``.

Times are those of the GPU's own clock (``triton.testing.do_bench``, which empties the L2 cache before each call).
"""
