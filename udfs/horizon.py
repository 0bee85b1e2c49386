"""How far ahead every score looks; without imports, since the DAGs' side and every job's start read it."""

HORIZON_DAYS = 28
HABIT_DAYS = 730  # how far back purchases are read to recommend: a habit of 180 days to halve weighs 6 % there
