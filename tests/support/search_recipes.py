"""Files and silver rows of the recipes for searches: what tests/spark/test_recipes.py holds the page against."""

import json
from typing import Any


def _lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _query(query_id: str, text: str, hits: list[str]) -> dict[str, Any]:
    return {
        "application": "web",
        "query_id": query_id,
        "client_id": "C1",
        "user_query": text,
        "timestamp": "2026-07-06T10:00:00.000Z",
        "query_response_hit_ids": hits,
    }


def _click(action: str, item: str, place: int) -> dict[str, Any]:
    attributes = {"object": {"object_id": item, "object_id_field": "sku"}, "position": {"ordinal": place}}
    named = {"action_name": action, "query_id": "Q1", "session_id": "V1", "client_id": "C1"}
    return named | {"user_query": "mug", "timestamp": "2026-07-06T10:01:00Z", "event_attributes": attributes}


SEARCH_RECIPES: dict[str, dict[str, Any]] = {
    "A log of searches and clicks": {
        "files": {
            "searches/searches_2026-07-06.csv": "at,visit,login,what,terms,hits,sku,place,device\n"
            "2026-07-06 10:00:00,V1,U1,search,Red Mug,12,,,web\n"
            "2026-07-06 10:00:09,V1,U1,click,Red Mug,,MUG-R,3,web\n"
            "2026-07-06 10:02:00,V2,,search,anna@shop.test,0,,,app\n"
        },
        "events": [
            {"event_type": "search", "query": "Red Mug", "result_count": "12", "position": None, "session_id": "V1"},
            {"event_type": "click", "query": "Red Mug", "result_count": None, "position": "3", "session_id": "V1"},
        ],
        "rejected": [["query_personal_data"]],
    },
    "Queries of User Behavior Insights": {
        "files": {
            "ubi_queries/queries_2026-07-06.ndjson": _lines(
                _query("Q1", 'mug "XL", 3,5 l', ["MUG-R", "MUG-B"]), _query("Q2", "çay bardak", [])
            )
        },
        "events": [
            {"event_id": "Q1", "query": 'mug "XL", 3,5 l', "result_count": "2", "channel": "web", "source_row": "1"},
            {"event_id": "Q2", "query": "çay bardak", "result_count": "0", "channel": "web", "source_row": "2"},
        ],
    },
    "Clicks of User Behavior Insights": {
        "files": {
            "ubi_events/events_2026-07-06.ndjson": _lines(
                _click("item_click", "MUG-R", 2), _click("add_to_cart", "MUG-R", 2), _click("on_search", "x", 1)
            )
        },
        "events": [
            {"event_type": "click", "item_id": "MUG-R", "position": "2", "query": "mug", "user_id": "C1"},
            {"event_type": "add_to_cart", "item_id": "MUG-R", "position": "2", "query": "mug", "user_id": "C1"},
        ],
        "rejected": [["event_type_known"]],
    },
}
