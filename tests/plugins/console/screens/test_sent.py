"""What is sent of the scripts means what is written."""

import re

import pytest

from kernel.testing import Server
from plugins.console.assets.files import WEB
from plugins.console.assets.lean import shorten
from tests.plugins.console.browser import OpenTab, Tab, needs_browser

pytestmark = needs_browser

MODULES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*.js"))
READ = """async () => {
    const htm = (await import('/console/vendor/htm.js')).default;
    const html = htm.bind((tag, props, ...children) => ({ tag: String(tag), props, children }));
    return JSON.stringify(%s);
}"""
TEMPLATES = [
    """html`<ul class="plain" ...${{ id: 1 }}
    hidden
  >
    ${'a'} and ${'b'}
    text of
    two lines
    <li
      title="in quotes"
      class=${'made'}
    />
    ${'c'}
    ${'d'}
    <li>e</li> <li>f</li>
  </ul>`""",
    """html`
    <p>One</p>
    <p>Two${' '}
      <b>three</b>, four
    </p>
  `""",
    """html`<${'Outer'}
    a=${1}
    b
  >
    ${[1, 2].map((each) => html`<${'Inner'}
      key=${each}
    >${each}</${'Inner'}>`)}
  <//>`""",
]


@pytest.fixture
def plain(server: Server, new_tab: OpenTab) -> Tab:
    assert server.admin.username
    return new_tab().open(ready="form")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_means_the_same_when_it_is_shortened(plain: Tab, template: str):
    sent = shorten("a.js", f"export default function make() {{ return {template}; }}".encode())
    body = sent.decode().removesuffix(";export{e as default}")
    assert len(body) < len(template) + 20
    written, shortened = (
        re.sub(r"(?:\\n| )+", " ", plain.page.evaluate(READ % code))
        for code in (template, f"({body})()")
    )
    assert written == shortened  # but for runs of spaces, which HTML shows as one


def test_every_module_loads_as_it_is_sent(plain: Tab):
    """Each import names what the other module exports, and no name is there twice."""
    names = [name for name in MODULES if name != "main.js"]
    failed = plain.page.evaluate(
        """async (names) => {
            const load = (name) => import(`/console/${name}`).then(
                () => '', (error) => `${name}: ${error}`);
            return (await Promise.all(names.map(load))).filter(Boolean);
        }""",
        names,
    )
    assert failed == []
