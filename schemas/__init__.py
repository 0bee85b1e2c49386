"""Every table of the lake, by name."""

from schemas import (
    ad_audiences,
    audits,
    bronze,
    explanations,
    exposure,
    features,
    gold,
    ops,
    persons,
    readouts,
    relations,
    reviews,
    search,
    silver,
    suspects,
    users,
)
from schemas.contract import Table

TABLES: dict[str, Table] = {
    table.name: table
    for layer in (
        *(bronze, silver, suspects, features, ops, gold, ad_audiences),
        *(search, users, readouts, exposure, reviews, relations, audits, explanations, persons),
    )
    for table in layer.TABLES
}
