"""Every table of the lake, by name."""

from schemas import ad_audiences, audits, bronze, features, gold, ops, readouts, reviews, search, silver, users
from schemas.contract import Table

TABLES: dict[str, Table] = {
    table.name: table
    for layer in (bronze, silver, features, ops, gold, ad_audiences, search, users, readouts, reviews, audits)
    for table in layer.TABLES
}
