"""What a real Chromium does with files that users sent: it shows some, and runs none."""

import base64
import io
import wave

import pytest

from kernel.testing import running_server
from tests.plugins.console.browser import chromium, missing

from .support import CONTRACT, FILES, manifest, upload

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "there")]
RUN = "<script>fetch('/ran-' + localStorage.getItem('secret')); document.title = 'ran'</script>"
SVG = f"<svg xmlns='http://www.w3.org/2000/svg'>{RUN}</svg>"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def sound():
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes(800))
    return content.getvalue()


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {}) as running:
        running.install(manifest(CONTRACT))
        yield running


@pytest.fixture(scope="module")
def browser(server):
    assert server
    with chromium() as started:
        yield started


@pytest.fixture
def page(server, browser):
    """A page that has been on the console, where a secret is in reach."""
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.goto(f"{server.url}/console/")
    page.evaluate("localStorage.setItem('secret', 'token')")
    yield page
    context.close()


def link(server, content, name):
    file = upload(server.admin, content, name)
    return server.admin.post(f"{FILES}/{file['id']}/link", json={"seconds": 600}).json()["url"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", f"<html>{RUN}</html>"), ("a.svg", SVG), ("a.xml", f"<?xml version='1.0'?>{SVG}"),
        ("a.xhtml", f"<html xmlns='http://www.w3.org/1999/xhtml'>{RUN}</html>"),
        ("a.js", "fetch('/ran')"),
    ],
)  # fmt: skip
def test_what_could_run_is_saved_and_not_shown(server, page, name, content):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    with page.expect_download() as download:
        page.evaluate(
            "address => { location.href = address }", link(server, content.encode(), name)
        )
    assert download.value.suggested_filename == name
    assert not [url for url in requests if "/ran" in url]


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.pdf"])
def test_a_page_by_another_name_is_text(server, page, name):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(link(server, f"<html>{RUN}</html>".encode(), name))
    assert "<script>" in page.inner_text("body")
    assert page.title() != "ran"
    assert not [url for url in requests if "/ran" in url]


def test_in_a_frame_and_an_object_a_drawing_runs_nothing(server, page):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    address = link(server, SVG.encode(), "a.svg")
    page.route("**/frames", lambda route: route.fulfill(
        content_type="text/html",
        body=f"<iframe src='{address}'></iframe><object data='{address}'></object>"
        f"<embed src='{address}'><img src='{address}'>"))  # fmt: skip
    page.goto(f"{server.url}/frames", wait_until="networkidle")
    assert [url for url in requests if "/link" in url]
    assert not [url for url in requests if "/ran" in url]


def test_images_and_sounds_are_shown(server, page):
    address = link(server, PNG, "a.png")
    page.goto(address)
    assert page.evaluate("document.images[0].naturalWidth") == 1
    address = link(server, sound(), "a.wav")
    page.goto(address)
    page.wait_for_function("document.querySelector('audio, video').readyState >= 1")
