"""Schedule: what lies in the lanes of vectors, the first decision about a kernel's loops."""

from __future__ import annotations

from enum import Enum


class Schedule(Enum):
    """One structure may have several schedules; each call takes the one that suits its sizes.

    ROWS     lanes are rows: nothing is ever combined across lanes. For many rows.
    COLUMNS  lanes are whatever is summed away or makes columns: every load of a streamed input
             serves all rows of a task, and is used once for each. For few rows.
    """

    ROWS = "rows"
    COLUMNS = "columns"
