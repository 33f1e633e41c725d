"""Configuration of the plugin."""

from typing import Annotated

from msgspec import Meta

from caudex import Section


class HelloConfig(Section, frozen=True, kw_only=True):
    """`[plugins.hello]`: what a greeting begins with, and whether contacts are greeted."""

    word: Annotated[str, Meta(min_length=1, max_length=40)] = "Hello"
    greet_contacts: bool = True
