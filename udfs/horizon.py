"""How far ahead every score looks; without imports, since the DAGs' side and every job's start read it."""

HORIZON_DAYS = 28
