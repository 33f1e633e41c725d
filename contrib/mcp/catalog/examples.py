"""What `describe_app` says beyond the route: links between entities, and calls to begin with."""

from __future__ import annotations

from collections.abc import Sequence

from contrib.mcp.models import Json


def describe_links(entities: Sequence[Json]) -> Sequence[Json]:
    """Return the links between entities, each with how to follow it in both directions."""
    links: list[Json] = []
    for entity in entities:
        for field in entity["fields"]:
            target = field.get("references")
            if target is None:
                continue
            links.append(
                {
                    "from": entity["name"],
                    "field": field["name"],
                    "to": target,
                    "expand": field["name"],
                    "backwards": f"{entity['name']}_via_{field['name']}",
                }
            )
    return links


def make_examples(app_id: str, entities: Sequence[Json]) -> Sequence[Json]:
    """Return calls of tools with the first entity, which work as they are."""
    if not entities:
        return []
    entity = entities[0]
    base = {"app": app_id, "entity": entity["name"]}
    count = {"records": {"$count": "*"}}
    examples: list[Json] = [
        {"tool": "query_data", "arguments": {**base, "limit": 5}},
        {"tool": "aggregate_data", "arguments": {**base, "aggregate": count}},
    ]
    for field in entity["fields"]:
        if field["type"] == "text":
            where = {field["name"]: {"$ilike": "%a%"}}
            examples.append({"tool": "query_data", "arguments": {**base, "where": where}})
            break
    return examples
