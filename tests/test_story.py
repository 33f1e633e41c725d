"""The examples of the REST reference are what a server is sent and answers."""

import jsonschema_rs

from docs import story
from docs.generate import FOLDER


def test_the_examples_are_true(make_server):
    """After a change that is wanted, with a server nobody has used: `python -m docs.story URL`."""
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
    routes = [route for plugin, route in server.kernel.routes if plugin in built_in]
    names = {f"{route.method} {route.path}" for route in routes}
    assert len(names) > 50
    assert names == examples.keys(), "tell it in docs/story.py"
    text = (FOLDER / "rest.md").read_text("utf-8")
    for route in routes:
        name = f"{route.method} {route.path}"
        example = examples[name]
        assert f"### {name}\n" in text
        assert f"```text\n{route.method} {example['path']}" in text
        told = document["paths"][route.path][route.method.lower()]
        content = told["responses"][str(example["status"])]["content"].get("application/json")
        if content and content["schema"] and name not in story.CUT and "/logs" not in name:
            schema = {**content["schema"], "components": document["components"]}
            jsonschema_rs.Draft202012Validator(schema).validate(example["reply"])
            assert content["example"] == example["reply"]
        if route.body is not None:
            content = told["requestBody"]["content"]["application/json"]
            schema = {**content["schema"], "components": document["components"]}
            jsonschema_rs.Draft202012Validator(schema).validate(example["body"])
            assert content["example"] == example["body"]
