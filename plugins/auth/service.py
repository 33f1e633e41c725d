"""The parts of this plugin."""

from __future__ import annotations

from typing import NamedTuple

from kernel.public import ServiceKey

from .accounts.changes import AccountChanges
from .accounts.creation import AccountCreation
from .accounts.identity import Accounts
from .invites.service import Invites
from .keys.service import Keys
from .logins import Logins
from .people.service import People
from .registrations import Registrations
from .sessions.service import Sessions
from .sign_in.second_factor import SecondFactors
from .sign_in.setup_token import SetupToken


class Auth(NamedTuple):
    """The parts of this plugin, for its routes and commands."""

    accounts: Accounts
    creation: AccountCreation
    changes: AccountChanges
    registrations: Registrations
    logins: Logins
    sessions: Sessions
    setup: SetupToken | None
    factors: SecondFactors
    keys: Keys
    invites: Invites
    people: People


AUTH = ServiceKey[Auth]("auth")
