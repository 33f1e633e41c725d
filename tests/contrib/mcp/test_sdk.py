"""The client of the protocol's own package, in both versions: it validates what it gets."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from kernel.testing import Server
from tests.contrib.mcp.support import PATH, make_key

pytestmark = pytest.mark.slow


@asynccontextmanager
async def connect(server: Server, key: str, mode: str) -> AsyncGenerator[McpClient]:
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http:
        transport = streamable_http_client(server.url + PATH, http_client=http)
        async with McpClient(transport, mode=mode) as client:
            yield client


@pytest.mark.parametrize("mode", ["auto", "2026-07-28", "legacy"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_question_is_answered_and_a_change_is_found(
    server: Server, acme: str, mode: str
) -> None:
    key = make_key(server.admin)
    async with connect(server, key, mode) as client:
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools][:3] == [
            "list_apps",
            "describe_app",
            "query_data",
        ]
        aggregate = {"sum": {"$sum": "value"}}
        arguments = {"app": "crm", "entity": "deals", "aggregate": aggregate}
        where = {"company": acme}
        answer = await client.call_tool("aggregate_data", {**arguments, "where": where})
        assert answer.is_error is False
        assert answer.structured_content == {"data": [{"sum": 600}], "total": 1}

        operations = [{"op": "update", "entity": "companies", "id": acme, "data": {"notes": mode}}]
        done = await client.call_tool("mutate_data", {"app": "crm", "operations": operations})
        request = json.loads(done.content[0].text)["request"]
        found = await client.call_tool("audit_search", {"request_id": request})
        [row] = json.loads(found.content[0].text)["data"]
        assert (row["via"], row["new_record"]["notes"]) == ("mcp", mode)

        refused = await client.call_tool("query_data", {"app": "crm", "entity": "nothing"})
        assert refused.is_error is True
        resources = await client.list_resources()
        read = await client.read_resource(resources.resources[0].uri)
        assert read.contents[0].text.startswith("# Reading records")
        templates = await client.list_resource_templates()
        assert templates.resource_templates[0].name == "manifest"
