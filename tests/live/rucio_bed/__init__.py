"""A real Rucio for tests: server, daemons, transfers and four storage elements, on the loop-back interface.

`bed.Bed` is what tests work with, `fixture.bed` gives it to them.
"""
