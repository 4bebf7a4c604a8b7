"""A data lake that Rucio keeps (https://rucio.github.io): storage elements, data sets, replication rules.

Rucio moves the data; we say what is wanted, and read what became of it. Its own client library is loaded by
the first connection to such a target, and by nothing else.
"""
