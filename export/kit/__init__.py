"""How graphs are timed on a device: by nastool itself, and far away without it.

``protocol`` (which moments count), ``contention`` (what other programs take), ``journal`` (what has
been measured so far), ``runners`` (a runtime, opened with nothing but numpy beside it), ``measure``
(the program that a kit holds). With `export.machine` these modules are all that a kit needs: they
keep to the grammar and the library of Python 3.8, and to numpy.
"""
