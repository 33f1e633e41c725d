"""The examples of the REST reference are what a server is sent and answers."""

import tomllib

import jsonschema_rs
import pytest

from docs import story, story_contrib
from docs.generate import FOLDER
from docs.pages.code import CONTRIB, PROXY
from docs.pages.rest import contrib_routes, is_page

CONTRIB_STORIES = {"contrib": CONTRIB, "proxy": PROXY}


@pytest.mark.slow
def test_the_examples_are_true(make_server):
    """After a change that is wanted, with a server no one has used: `python -m docs.story URL`."""
    server = make_server()
    played, written = story.play(server.url), story.read()
    assert played.keys() == written.keys()
    for route, example in played.items():
        assert example == written[route], route


def test_every_built_in_route_has_an_example_that_fits_its_declaration(make_server):
    server = make_server({"plugins": {"openapi": {}}})
    document = server.admin.get("/api/v1/openapi.json").json()
    examples = story.read()
    built_in = {info.name for info in server.kernel.plugins if info.origin == "built-in"}
    routes = [
        route
        for plugin, route in server.kernel.routes
        if plugin in built_in and not is_page(route.path)
    ]
    assert len(routes) > 50
    assert {f"{route.method} {route.path}" for route in routes} == examples.keys(), (
        "add the route to docs/story.py"
    )
    assert_fit(routes, examples, document, "rest.md")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "path"), CONTRIB_STORIES.items())
def test_the_examples_of_contrib_are_true(make_server, name, path):
    """After a change that is wanted: `python -m docs.story_contrib`, as it says itself."""
    server = make_server(tomllib.loads(path.read_text("utf-8")))
    written = story.read(story_contrib.EXAMPLES)
    for plugin, played in story_contrib.STORIES[name](server.url).items():
        assert played == written[plugin], plugin


@pytest.mark.slow
@pytest.mark.parametrize("path", CONTRIB_STORIES.values())
def test_every_route_of_contrib_has_an_example_that_fits_its_declaration(make_server, path):
    config = tomllib.loads(path.read_text("utf-8"))
    config["plugins"]["openapi"] = {"public": True}
    server = make_server(config)
    document = server.http.get("/api/v1/openapi.json").json()
    pairs, written = contrib_routes(server.kernel), story.read(story_contrib.EXAMPLES)
    for plugin in {plugin for plugin, _ in pairs}:
        routes = [route for by, route in pairs if by == plugin]
        names = {f"{route.method} {route.path}" for route in routes}
        assert names == written[plugin].keys(), "add the route to docs/story_contrib.py"
        assert_fit(routes, written[plugin], document, "rest-contrib.md")


def assert_fit(routes, examples, document, page):
    """Each is on the page, and in the document below the schema that it keeps."""
    text = (FOLDER / page).read_text("utf-8")
    for route in routes:
        name = f"{route.method} {route.path}"
        example = examples[name]
        assert f"### {name}\n" in text
        assert f"```text\n{route.method} {example['path']}" in text
        reported = document["paths"][route.path][route.method.lower()]
        content = reported["responses"][str(example["status"])].get("content", {})
        content = content.get("application/json")
        if content and content["schema"] and name not in story.CUT and "/logs" not in name:
            schema = {**content["schema"], "components": document["components"]}
            jsonschema_rs.Draft202012Validator(schema).validate(example["reply"])
            assert content["example"] == example["reply"]
        if route.body is not None:
            content = reported["requestBody"]["content"]["application/json"]
            schema = {**content["schema"], "components": document["components"]}
            jsonschema_rs.Draft202012Validator(schema).validate(example["body"])
            assert content["example"] == example["body"]
