"""The peers of the attention benchmark, each in its own best form. The table is ``peers.table``."""
