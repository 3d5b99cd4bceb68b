"""The benchmark of whole models; ``models.table`` lists them, ``models.peers`` whom we meet."""
