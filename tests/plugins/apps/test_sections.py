"""Sections that plugins understand: registered by a schema, part of the whole, asked at install."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from jsonschema_rs import Draft202012Validator

from kernel.cli import main as cli
from kernel.contracts.apps import MANIFEST_KEYS
from kernel.errors import EX_CONFIG
from kernel.public import APPS, PERMISSION_KEY, BadRequest, BootError, BootErrors, ManifestSection
from plugins.apps.manifest import reader
from plugins.apps.manifest.sections import BASE, SMALL, Sections
from plugins.apps.manifest.types import ALIASES

from .support import entity, field, fresh_id, link, manifest
from .test_properties import entities

ROOT = Path(__file__).parents[3]
TEA = {
    "type": "array",
    "maxItems": 20,
    "items": {"$ref": "#/$defs/tea"},
    "$defs": {
        "tea": {
            "type": "object",
            "required": ["name", "minutes"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z]+$"},
                "minutes": {"type": "integer", "minimum": 1, "maximum": 10},
                "default": {"const": {"$ref": "#/not/a/reference"}},
            },
        }
    },
}
PLUGIN = f'''
"""Understands what an app drinks."""
from caudex import ManifestSection, Plugin, hookimpl

class TeasPlugin(Plugin):
    name = "teas"
    taken = []

    @hookimpl
    def register_manifest_section(self):
        return ManifestSection("teas", {TEA!r}, self.check)

    def check(self, teas):
        for number, tea in enumerate(teas):
            if tea["name"] == "milk":
                yield f"[{{number}}].name", "milk is no tea"

    @hookimpl
    async def app_installing(self, tx, plan):
        self.taken.append(plan.section("teas"))
'''


def known(**more: Any) -> Sections:
    return Sections([("teas", ManifestSection("teas", TEA, **more))])


def problems(teas: Any, sections: Sections | None = None) -> list[str]:
    found = (sections or known()).problems({"teas": teas})
    return [f"{path}: {sentence}" for path, sentence in found]


def base() -> dict[str, Any]:
    return json.loads(BASE.read_bytes())


def whole(sections: Sections | None = None) -> Draft202012Validator:
    return Draft202012Validator(json.loads((sections or Sections()).schema), offline=True)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/manifest.json")), ids=str)
def test_the_manifests_of_the_examples_fit(path):
    whole().validate(json.loads(path.read_bytes()))


@settings(max_examples=100)
@given(entities("a"), entities("b"))
def test_what_the_server_takes_fits_the_schema(a, b):
    wanted = manifest("shop", a, b)
    reader.read_manifest(wanted)
    whole().validate(wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"appId": "x"},
        {"appId": "core", "name": "x"},
        {"appId": "pg_x", "name": "x"},
        {"appId": "X", "name": "x"},
        {"appId": "x", "name": ""},
        {"appId": "x", "name": "a\nb"},
        {"appId": "x", "name": "\u202eevil"},
        {"appId": "x", "name": "x", "dataContract": {}},
        manifest("x", {"fields": []}),
        manifest("x", entity("A")),
        manifest("x", entity("a", field("f", "money"))),
        manifest("x", entity("a", {"name": "f"})),
        manifest("x", entity("a", {"name": "f", "type": "entity_link"})),
        manifest("x", entity("a", link("f", "a", on_delete="never"))),
        manifest("x", entity("a", field("f", enum_values="x"))),
        manifest("x", entity("a", indexes=[{"columns": []}])),
        manifest("x", permissions=[{"key": "a b"}]),
        manifest("x", permissions=[{"key": "2fa.use"}]),
        manifest("x", permissions=[{"key": "a::b"}]),
        manifest("x", permissions={"permissions": [{}]}),
    ],
    ids=json.dumps,
)
def test_what_does_not_fit_the_schema_is_refused_by_the_server(wrong):
    assert not whole().is_valid(wrong)
    with pytest.raises(BadRequest):
        reader.read_manifest(wrong)


def test_the_schema_and_the_server_have_the_same_limits_and_names():
    schema = base()
    defs, properties = schema["$defs"], schema["properties"]
    assert set(defs["field"]["properties"]["type"]["enum"]) == set(ALIASES)
    assert properties["dataContract"]["maxItems"] == reader.MAX_ENTITIES
    assert defs["entity"]["properties"]["fields"]["maxItems"] == reader.MAX_FIELDS
    assert defs["index"]["properties"]["columns"]["maxItems"] == 32
    key = defs["permissions"]["items"]["properties"]["key"]
    length, pattern = key["maxLength"], key["pattern"].removeprefix("^").removesuffix("$")
    assert PERMISSION_KEY.pattern == f"(?=.{{1,{length}}}$){pattern}"
    assert set(properties) == {key for key in MANIFEST_KEYS if "_" not in key}
    assert all("description" in each for each in properties.values())


def test_a_section_is_inserted_and_its_references_follow():
    composed = json.loads(known().schema)
    assert composed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert composed["$id"]
    teas = composed["properties"]["teas"]
    assert teas["items"] == {"$ref": "#/properties/teas/$defs/tea"}
    default = teas["$defs"]["tea"]["properties"]["default"]
    assert default == TEA["$defs"]["tea"]["properties"]["default"]
    validator = Draft202012Validator(composed, offline=True)
    assert validator.is_valid(manifest("x", teas=[{"name": "oolong", "minutes": 3}]))
    assert not validator.is_valid(manifest("x", teas=[{"name": "oolong", "minutes": 30}]))


def test_a_problem_names_its_place_as_the_rest_of_the_manifest_does():
    said = problems([{"name": "Oolong", "minutes": 30, "sugar": 1}, 5, {"name": "mate"}])
    assert sorted(said) == sorted(
        [
            'teas[0].name: "Oolong" does not match "^[a-z]+$"',
            "teas[0].minutes: 30 is greater than the maximum of 10",
            "teas[0].sugar: is not known",
            'teas[1]: 5 is not of type "object"',
            "teas[2].minutes: is required",
        ]
    )
    assert problems("tea") == ['teas: "tea" is not of type "array"']


def test_null_and_nothing_are_absent():
    assert problems(None) == []
    assert list(known().problems({})) == []


def test_what_a_schema_cannot_say_is_asked_of_what_fits_it():
    def check(teas):
        return [("[0].name", f"{teas[0]['name']} is out") for _ in range(1)]

    sections = known(check=check)
    assert problems([{"name": "mate", "minutes": 1}], sections) == ["teas[0].name: mate is out"]
    assert problems([5], sections) == ['teas[0]: 5 is not of type "object"']


@pytest.mark.parametrize(
    ("schema", "place", "problem"),
    [
        ({"type": "arry"}, "schema.type", "arry"),
        ({"properties": 3}, "schema.properties", "object"),
        ({"$ref": "#/$defs/none"}, "schema", "/$defs/none"),
        ({"items": {"$ref": "https://example.com/x.json"}}, "schema.items.$ref", "fetched"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "schema.$ref", "fetched"),
        ({"$ref": "file:///etc/passwd"}, "schema.$ref", "fetched"),
        ({"$ref": "other.json#/x"}, "schema.$ref", "fetched"),
        ({"$ref": 5}, "schema.$ref", "fetched"),
        ({"anyOf": [{"$id": "urn:x"}]}, "schema.anyOf[0].$id", "not for a section"),
        ({"$defs": {"x": {"$anchor": "x"}}}, "schema.$defs.x.$anchor", "not for a section"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "schema.$schema", "2020-12"),
        ({"pattern": "(("}, "schema.pattern", "regex"),
        ({"pattern": "(?=x)"}, "schema.pattern", "regex"),
        pytest.param({"const": {1, 2}.__iter__}, "", "no JSON", id="no-json"),
        ("tea", "", "no JSON"),
    ],
    ids=str,
)
def test_a_broken_schema_names_plugin_place_and_remedy(schema, place, problem):
    with pytest.raises(BootErrors) as found:
        Sections([("teas", ManifestSection("teas", schema)), ("good", ManifestSection("x", {}))])
    [error] = found.value.errors
    assert error.where.startswith("plugin teas, manifest section 'teas'")
    assert error.where.endswith(place)
    assert problem in error.problem
    assert "register_manifest_section" in error.remedy


def test_every_broken_schema_is_reported_at_once():
    with pytest.raises(BootErrors) as found:
        Sections([(name, ManifestSection(name, {"type": 5})) for name in ("a", "b")])
    assert [error.where[:8] for error in found.value.errors] == ["plugin a", "plugin b"]


@pytest.mark.parametrize("key", ["", "a-b", "a.b", "1", "a" * 64, "$x"])
def test_a_key_is_a_word(key):
    with pytest.raises(BootError, match="word of letters"):
        Sections([("teas", ManifestSection(key, {}))])


@pytest.mark.parametrize(
    "teas",
    [
        [1] * 400_000,
        [{"name": "X" * 900_000, "minutes": 1}],
        [{f"k{n}": 1 for n in range(80_000)}],
        ["a" * 30] * 30_000,
    ],
    ids=["many", "long", "wide", "texts"],
)
def test_a_hostile_section_costs_little_and_the_message_stays_short(teas):
    began = time.process_time()
    said = problems(teas)
    assert time.process_time() - began < 1
    assert said
    assert len(json.dumps(said)) < 40_000


def test_a_pattern_takes_time_that_is_linear_in_the_text():
    sections = Sections([("x", ManifestSection("x", {"pattern": "^(a+)+$"}))])
    began = time.process_time()
    assert list(sections.problems({"x": "a" * 900_000 + "!"}))
    assert time.process_time() - began < 1


def test_many_problems_of_a_small_section_are_cut():
    teas = [0] * (SMALL // 3)
    assert len(problems(teas)) == 100
    assert len(problems([0] * SMALL)) == 1


@pytest.fixture(scope="module")
def teas_file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("plugin") / "teas.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
def tea_server(make_server, teas_file):
    return make_server({"server": {"plugin_files": [teas_file]}})


def drinking(teas: Any) -> dict[str, Any]:
    return manifest(fresh_id(), entity("cups", field("size", "number")), teas=teas)


def test_a_section_that_fits_is_installed_and_handed_to_its_plugin(tea_server):
    good = [{"name": "oolong", "minutes": 3}]
    answer = tea_server.admin.post("/api/v1/apps", json=drinking(good))
    assert (answer.status_code, list(answer.json())) == (200, ["message"])
    [plugin] = [each for each in tea_server.kernel.instances if each.name == "teas"]
    assert plugin.taken[-1] == good


def test_a_section_that_does_not_fit_is_a_400_with_the_other_problems_of_the_manifest(tea_server):
    wrong = drinking([{"name": "oolong", "minutes": 30}])
    wrong["dataContract"][0]["fields"][0]["type"] = "money"
    for path in ("/api/v1/apps", "/api/v1/apps/schema/verify"):
        answer = tea_server.admin.post(path, json=wrong)
        assert answer.status_code == 400
        said = answer.json()["error"].split("; ")
        assert [each.split(": ")[0] for each in said] == [
            "dataContract[0].fields[0].type", "teas[0].minutes",
        ]  # fmt: skip
    answer = tea_server.admin.post("/api/v1/apps", json=drinking([{"name": "milk", "minutes": 1}]))
    assert (answer.status_code, answer.json()["error"]) == (400, "teas[0].name: milk is no tea")
    assert tea_server.admin.get("/api/v1/apps").json() == []


def test_the_schema_is_for_signed_in_users_and_follows_the_plugins(tea_server, server):
    path = "/api/v1/manifest.schema.json"
    assert tea_server.http.get(path).status_code == 401
    for each, has in ((tea_server, True), (server, False)):
        answer = each.user().get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert ("teas" in answer.json()["properties"]) is has
        Draft202012Validator(answer.json(), offline=True)


def test_switched_off_the_section_is_ignored_and_switched_on_again_it_is_there(
    make_server, teas_file
):
    off = make_server()
    good, bad = drinking([{"name": "oolong", "minutes": 3}]), drinking([{"name": "X"}])
    for wanted in (good, bad, drinking(None), manifest(fresh_id())):
        answer = off.admin.post("/api/v1/apps", json=wanted)
        assert answer.status_code == 200
        assert answer.json().get("ignored", []) == (["teas"] if wanted.get("teas") else [])
    admin = off.admin
    off.stop()
    on = make_server(
        {"server": {"plugin_files": [teas_file]}}, dsn=off.dsn, data_dir=off.kernel.config.data_dir
    )
    [section] = on.run(on.services.get(APPS).sections, "teas")
    assert (section.app_id, section.value) == (good["appId"], good["teas"])
    app = on.run(on.services.get(APPS).app, good["appId"])
    assert section.version_stamp == app.version_stamp
    again = on.login(admin.username).post("/api/v1/apps", json=bad)
    assert again.status_code == 400
    assert re.match(r"teas\[0\]\.(name|minutes): ", again.json()["error"])


def test_a_section_of_a_plugin_that_failed_to_start_is_ignored(make_server, tmp_path):
    (tmp_path / "teas.py").write_text(
        PLUGIN
        + """
    @hookimpl
    def lifespan(self, services):
        raise OSError("the kettle is away")
"""
    )
    degraded = {"teas": {"on_failure": "degrade"}}
    server = make_server(
        {"server": {"plugin_files": [str(tmp_path / "teas.py")]}, "plugins": degraded}
    )
    wanted = drinking([{"name": "X"}])
    answer = server.admin.post("/api/v1/apps", json=wanted)
    assert (answer.status_code, answer.json().get("ignored")) == (200, ["teas"])
    schema = server.admin.get("/api/v1/manifest.schema.json").json()
    assert "teas" not in schema["properties"]


def test_a_broken_schema_is_found_before_anything_starts(tmp_path, monkeypatch, capsys):
    (tmp_path / "teas.py").write_text(PLUGIN.replace("'array'", "'arry'"))
    (tmp_path / "caudex.toml").write_text("[server]\nplugin_files = ['teas.py']\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["config", "check"]) == EX_CONFIG
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("caudex: plugin teas, manifest section 'teas', schema.type: ")
    assert said.endswith("fix the ManifestSection that register_manifest_section returns")


def test_a_server_with_a_broken_schema_does_not_start(make_server, tmp_path):
    path = tmp_path / "teas.py"
    path.write_text(PLUGIN.replace("'array'", "'arry'"))
    with pytest.raises(BootError, match=r"plugin teas, manifest section 'teas', schema\.type: "):
        make_server({"server": {"plugin_files": [str(path)]}})


def test_the_stored_sections_are_values_of_json(tea_server):
    wanted = drinking([{"name": "mate", "minutes": 10}])
    tea_server.admin.post("/api/v1/apps", json=wanted)
    [section] = tea_server.run(tea_server.services.get(APPS).sections, "teas")
    assert msgspec.json.encode(section.value) == msgspec.json.encode(wanted["teas"])
