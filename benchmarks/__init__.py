"""Benchmarks of the operators beside their peers: ``make bench``, ``make bench-check``.

- ``bench_<family>.py``: what is timed, run by pytest-benchmark. ``peers/``: the calls of other packages, each written
  once. ``inputs.py``: what they all are given. ``bench_limits.py``: bandwidth and arithmetic peak of the machine.
- ``conftest.py``, ``timing.py``, ``threads.py``, ``heap.py``: how it is timed.
- ``rows.py``: the ratios that matter, with their targets. ``results.py``: what one run found, as the committed JSON.
- ``report.py`` writes tables, plot and roofline page from it; ``check.py`` compares ratios with the committed ones.
"""
