"""The names of an account: how they are written, and that no other account has them."""

from __future__ import annotations

from typing import Final

from kernel.public import (
    BadRequest,
    ConstraintViolation,
    Transaction,
    clean_display_name,
    clean_email,
    clean_username,
    fold_name,
)
from plugins.auth.accounts.store import AccountStore
from plugins.auth.models import Account, NewAccount, Registration

NAMES: Final = "auth.names"
"""The lock on names of accounts, and on which account is the first."""


class NameTaken(BadRequest):
    """The username or the email belongs to another account."""


def check_names(form: Registration) -> NewAccount:
    """Check the names of a new account. Without a username, the email is the username too.

    Raises BadRequest.
    """
    email = None
    email_key = None
    if form.email is not None:
        email = clean_email(form.email)
        email_key = fold_name(email)

    if form.username is not None:
        username = clean_username(form.username)
    elif email is not None:
        if len(email) > 64:
            raise BadRequest("username is required where the email is over 64 characters")
        username = email
    else:
        raise BadRequest("username is required")

    display_name = form.display_name
    if display_name is None:
        display_name = form.display_name_camel

    return NewAccount(
        username=username,
        username_key=fold_name(username),
        email=email,
        email_key=email_key,
        display_name=clean_display_name(display_name),
        password=form.password,
        email_only=form.username is None,
    )


async def refuse_taken_names(store: AccountStore, tx: Transaction, new: NewAccount) -> None:
    """Raise NameTaken where another account has a name of a new account."""
    conflict = await store.find_taken(tx, new.username_key, new.email_key, None)
    if conflict.username and not new.email_only:
        raise NameTaken(f"username '{new.username}' is already taken")
    if conflict.username or conflict.email:
        raise NameTaken(f"email '{new.email}' is already taken")


async def refuse_taken_email(store: AccountStore, tx: Transaction, changed: Account) -> None:
    """Raise NameTaken where another account has the email of a changed one."""
    username_key = fold_name(changed.username)
    conflict = await store.find_taken(tx, username_key, changed.email_key, changed.id)
    if conflict.email:
        raise NameTaken(f"email '{changed.email}' is already taken")


def explain_breach(breach: ConstraintViolation, new: NewAccount) -> BadRequest:
    """Return the error for a name that was taken by a write without the lock, such as SQL by
    hand."""
    if breach.constraint == "users_username_taken" and not new.email_only:
        return NameTaken(f"username '{new.username}' is already taken")
    if breach.constraint in ("users_username_taken", "users_email_taken"):
        return NameTaken(f"email '{new.email}' is already taken")
    return breach
