"""One attempt against a real receiver, a good one and those that mean harm."""

from __future__ import annotations

import base64
import ssl
import subprocess

import anyio
import anyio.abc
import anyio.streams.tls
import pytest
import standardwebhooks

from contrib.webhooks.deliveries import sender as module
from contrib.webhooks.deliveries.sender import MAX_REPLY, Sender, split_url
from contrib.webhooks.signing import Endpoint
from kernel.public import LOOPBACK_NETWORKS, AddressRules, BadRequest

from .support import receiving

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    with receiving(tmp_path_factory.mktemp("receiver")) as running:
        yield running


@pytest.fixture
def sender():
    return Sender(AddressRules(LOOPBACK_NETWORKS))


async def test_the_library_of_receivers_verifies_what_is_sent(receiver, sender):
    body = '{"type":"deals.enter","data":{"title":"Überraschung €"}}'.encode()
    headers = Endpoint(receiver.url("/ok"), (KEY,)).sign("msg_1", body)
    outcome = await sender.post(receiver.url("/ok"), headers, body)
    assert (outcome.status, outcome.error, outcome.body) == (200, None, "thanks")
    assert outcome.is_delivered
    [received] = receiver.received("/ok")
    assert received["headers"]["host"] == f"127.0.0.1:{receiver.port}"
    webhook = standardwebhooks.Webhook(SECRET)
    assert webhook.verify(received["body"], received["headers"])["type"] == "deals.enter"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        webhook.verify(received["body"] + " ", received["headers"])


def test_both_secrets_sign_while_one_is_replaced():
    body = b"{}"
    headers = Endpoint("https://x.example", (KEY, b"another key of a day before")).sign("m", body)
    old = "whsec_" + base64.b64encode(b"another key of a day before").decode()
    for secret in (SECRET, old):
        standardwebhooks.Webhook(secret).verify("{}", headers)


@pytest.mark.parametrize("status", [301, 302, 400, 404, 410, 429, 500, 503])
async def test_another_status_than_2xx_is_no_delivery(receiver, sender, status):
    receiver.answer(str(status), f"/{status}")
    outcome = await sender.post(receiver.url(f"/{status}"), {}, b"{}")
    assert (outcome.status, outcome.is_delivered) == (status, False)
    assert outcome.error == f"the receiver answered {status}"


async def test_a_redirect_is_not_followed(receiver, sender):
    receiver.answer(f"redirect {receiver.url('/inside')}", "/moved")
    outcome = await sender.post(receiver.url("/moved"), {}, b"{}")
    assert outcome.status == 302
    assert receiver.received("/inside") == []


async def test_a_reply_is_read_to_64_kb(receiver, sender):
    receiver.answer("flood", "/flood")
    outcome = await sender.post(receiver.url("/flood"), {}, b"{}")
    assert outcome.status == 200
    assert len(outcome.body) == MAX_REPLY


@pytest.mark.parametrize("mode", ["hang", "drip"])
async def test_an_attempt_ends_in_its_time(receiver, sender, mode, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.4)
    receiver.answer(mode, f"/{mode}")
    with anyio.fail_after(30):
        outcome = await sender.post(receiver.url(f"/{mode}"), {}, b"{}")
    assert outcome.status is None
    assert "no complete reply" in outcome.error


async def test_a_broken_connection_and_a_closed_port_have_a_reason(receiver, sender):
    receiver.answer("close", "/close")
    outcome = await sender.post(receiver.url("/close"), {}, b"{}")
    assert outcome.status is None
    assert "connection broke" in outcome.error
    outcome = await sender.post("http://127.0.0.1:1/", {}, b"{}")
    assert outcome.status is None
    assert "cannot connect" in outcome.error
    assert "127.0.0.1" not in outcome.error


async def test_a_private_address_is_refused_at_each_attempt(receiver):
    sender = Sender(AddressRules())
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"):
        url = f"https://{host}:{receiver.port}/private"
        with pytest.raises(BadRequest, match="url: the host has"):
            await sender.check(url)
        outcome = await sender.post(url, {}, b"{}")
        assert outcome.status is None
        assert "private" in outcome.error
    with pytest.raises(BadRequest, match="needs https"):
        await sender.check(receiver.url("/private"))
    assert receiver.received("/private") == []


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(receiver, monkeypatch):
    """A name that resolves to a public address at first, and to loopback at the next lookup."""
    lookups = []

    def look_up(host, port, **_):
        lookups.append(host)
        address = "127.0.0.1" if len(lookups) % 2 else "10.9.9.9"
        return [(2, 1, 6, "", (address, port))]

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    sender = Sender(AddressRules(["127.0.0.0/8"]))
    outcome = await sender.post(f"http://rebind.example:{receiver.port}/rebind", {}, b"{}")
    assert outcome.status == 200
    assert lookups == ["rebind.example"]  # once for an attempt
    assert receiver.received("/rebind")[0]["headers"]["host"].startswith("rebind.example")
    outcome = await sender.post(f"http://rebind.example:{receiver.port}/rebind", {}, b"{}")
    assert outcome.status is None
    assert len(receiver.received("/rebind")) == 1


async def test_no_proxy_variable_is_used(receiver, sender, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await sender.post(receiver.url("/direct"), {}, b"{}")).status == 200


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://x.example/", "https://"),
        ("https:///path", "https://"),
        ("/path", "https://"),
        ("https://user:word@x.example/", "user name"),
        ("https://x.example/#part", "fragment"),
        ("https://x.example:0/", "port 0"),
        ("https://x.example:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://x.example/ä", "ASCII"),
        ("https://x.example/\r\nx: y", "ASCII"),
        ("https://x.example/ x", "ASCII"),
    ],
)
def test_what_is_no_url_of_a_receiver_is_refused(url, problem):
    with pytest.raises(BadRequest, match=problem) as caught:
        split_url(url)
    assert url not in caught.value.message


@pytest.fixture
def certificate(tmp_path):
    """A certificate for hooks.example, and its key."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=hooks.example",
            "-addext", "subjectAltName=DNS:hooks.example",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


async def test_the_name_is_that_of_the_certificate(certificate, monkeypatch):
    """TLS to the checked address asks for the name of the URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    def look_up(host, port, *_, **__):
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", look_up)

    async def serve(stream):
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    sender = Sender(AddressRules(["127.0.0.0/8"]))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    tls = anyio.streams.tls.TLSListener(listener, context, standard_compatible=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tls.serve, serve)
        outcome = await sender.post(f"https://hooks.example:{port}/", {}, b"{}")
        assert (outcome.status, outcome.body) == (200, "ok")
        outcome = await sender.post(f"https://other.example:{port}/", {}, b"{}")
        assert outcome.status is None
        assert "certificate is not valid" in outcome.error
        tasks.cancel_scope.cancel()
    await tls.aclose()
