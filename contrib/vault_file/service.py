"""Rules of the vault: names of secrets, their files, rotation of keys."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import anyio.to_thread
import structlog

from kernel.public import (
    SECRET_NAME,
    Actor,
    App,
    Apps,
    BootError,
    ConcurrencyLimiter,
    Event,
    Keyring,
    Keys,
    RevealedSecrets,
    Statements,
    Transaction,
    Unavailable,
    Unopenable,
    Vault,
    check_room_for_secret,
    check_secret,
    missing_secret,
    record_secret,
    secret_path,
    server_actor,
)

from . import store
from .files import Folder
from .models import FolderRow, Outcome
from .sealing import open_file, seal_file, sealed_by

T = TypeVar("T")
NO_APP: Final = "core"
"""Has roles and no secrets: what is revealed to it is the platform's."""
FOLDER: Final = "[plugins.vault_file] folder"
TOO_MANY: Final = "too many secrets are read or written at once"

log = structlog.get_logger("caudex.vault_file")


class VaultFileService:
    """Provides VAULT."""

    def __init__(self, statements: Statements, folder: Folder, keyring: Keyring) -> None:
        self._statements = statements
        self._folder = folder
        self._keyring = keyring
        self._threads = ConcurrencyLimiter(4, queue=1000, message=TOO_MANY)
        self._identity = ""

    async def prepare(self) -> None:
        """See that this is the folder of this database, and that its key is here.

        Raises BootError before anything is changed.
        """
        row = await store.folder(self._statements)
        try:
            await self._run_in_thread(lambda: self._check(row))
            if row is None:
                row = await self._set_up()
            self._identity = row.id
            await self._run_in_thread(self._folder.sweep)
        except OSError as error:
            problem = f"{self._folder.root} cannot be used: {error.strerror}"
            raise BootError(FOLDER, problem, "give it to the account of the server") from None

    async def set(self, actor: Actor, app_id: str | None, key: str, value: str) -> None:
        check_secret(key, value)
        await self._change(actor, lambda tx, _: self._set(tx, app_id, key, value))

    async def names(self, app_id: str | None) -> list[str]:
        return await self._guard(self._use_folder(lambda: self._folder.names(app_id)))

    async def delete(self, actor: Actor, app_id: str | None, key: str) -> None:
        if not SECRET_NAME.fullmatch(key):
            raise missing_secret(app_id, key)
        await self._change(actor, lambda tx, _: self._delete(tx, app_id, key))

    async def reveal(self, app_id: str, *, skip_broken: bool = False) -> dict[str, str]:
        return await self._guard(self._use_folder(lambda: self._reveal(app_id, skip_broken)))

    async def forget(self, tx: Transaction, app_id: str) -> None:
        """Delete the files that an app has now, as soon as the transaction is committed."""
        states = await self._guard(self._use_folder(lambda: self._folder.states(app_id)))

        async def delete() -> None:
            await self._use_folder(lambda: self._folder.forget(app_id, states))

        if states:
            tx.after_commit(delete)

    async def installed(self, tx: Transaction, app_id: str) -> None:
        """Delete the files that a former app of the same name has left."""
        if await store.add_app(tx, app_id):
            await self._wipe(app_id)

    async def wipe_former(self, apps: Apps) -> None:
        """Delete the files of apps that were removed while the plugin was off, or by a server that
        died before it had deleted them; also where other apps have their names since."""
        scopes = await self._use_folder(self._folder.scopes)
        await apps.refresh()
        installed = {app.id for app in await apps.all()}
        for app_id in installed:
            adopt = partial(self.installed, app_id=app_id)
            await self._statements.run(server_actor(), adopt)
        for app_id in scopes:
            if app_id is not None and app_id not in installed:
                await self._wipe(app_id)

    async def _wipe(self, app_id: str) -> None:
        await self._guard(self._use_folder(lambda: self._folder.wipe(app_id)))

    async def rotate(self) -> Outcome:
        """Seal every secret by a new key; servers go on. What failed half-way is taken up again."""
        actor = server_actor()
        count = 0
        newest = await self._change(actor, self._begin_rotation)
        for app_id in await self._use_folder(self._folder.scopes):
            outcome = await self._change(actor, lambda _, __, app_id=app_id: self._reseal([app_id]))
            count += outcome.count
        final = await self._change(actor, lambda tx, _: self._end_rotation(tx, newest, count))
        return Outcome(count + final.count, final.unopenable)

    async def take_over(self, source: Vault, apps: list[App]) -> Outcome:
        """Copy every secret of another vault; it is only read, and no worker is notified."""
        actor = server_actor()
        count = 0
        unopenable: list[str] = []
        for app_id in [None, *(app.id for app in apps)]:
            revealed = await source.reveal(app_id or NO_APP, skip_broken=True)
            for name in await source.names(app_id):
                value = revealed.get(name)
                if value is None:
                    unopenable.append(secret_path(app_id, name))
                    continue
                await self._copy(actor, app_id, name, value)
                count += 1
        return Outcome(count, tuple(unopenable))

    async def _copy(self, actor: Actor, app_id: str | None, name: str, value: str) -> None:
        await self._change(actor, lambda tx, _: self._set(tx, app_id, name, value, notify=False))

    # First use

    def _check(self, row: FolderRow | None) -> None:
        identity = self._folder.identity()
        if row is None:
            # An empty one is left by a server that died between setting it up and recording it.
            has_secrets = any(self._folder.names(scope) for scope in self._folder.scopes())
            if identity is not None and has_secrets:
                problem = f"{self._folder.root} holds the secrets of another database"
                raise BootError(FOLDER, problem, "name a folder that is new")
            self._keyring.read(may_create=True)
            return
        if identity != row.id:
            problem = f"{self._folder.root} is not the folder of this database's secrets"
            raise BootError(FOLDER, problem, "mount or restore the one it was set up with")
        self._keyring.check(row.key_id)

    async def _set_up(self) -> FolderRow:
        """Of servers that start at once the first sets the folder up, the others find it."""
        new_id = secrets.token_hex(16)
        keys = await self._run_in_thread(self._keyring.read)

        async def claim(tx: Transaction) -> FolderRow:
            row = await store.claim(tx, new_id, keys.newest)
            if row.id == new_id:
                await self._run_in_thread(lambda: self._folder.set_up(new_id))
            return row

        row = await self._statements.run(server_actor(), claim)
        await self._run_in_thread(lambda: self._check(row))
        return row

    # Changes

    async def _change(
        self, actor: Actor, work: Callable[[Transaction, FolderRow], Awaitable[T]]
    ) -> T:
        """Write to the folder as the last step of a transaction: what cannot be written is not
        recorded. The next holder of the lock sees what the one before has written."""

        async def alone(tx: Transaction) -> T:
            row = await store.lock(tx)
            keys = await self._run_in_thread(self._keyring.read)
            if row.key_id not in keys.known:
                raise BootError(
                    "key vault_file", "the secrets were sealed by another key meanwhile"
                )
            return await work(tx, row)

        return await self._guard(self._statements.run(actor, alone))

    async def _set(
        self, tx: Transaction, app_id: str | None, key: str, value: str, *, notify: bool = True
    ) -> None:
        await record_secret(tx, app_id, key, "SECRET_SET", notify=notify)
        await self._use_folder(lambda: self._write(app_id, key, value))

    def _write(self, app_id: str | None, key: str, value: str) -> None:
        check_room_for_secret(self._folder.names(app_id), key)
        self._folder.write(app_id, key, seal_file(self._keyring.read().sealing, value, app_id, key))

    async def _delete(self, tx: Transaction, app_id: str | None, key: str) -> None:
        if key not in await self._use_folder(lambda: self._folder.names(app_id)):
            raise missing_secret(app_id, key)
        await record_secret(tx, app_id, key, "SECRET_DELETED")
        await self._use_folder(lambda: self._folder.delete(app_id, key))

    # Opening

    def _reveal(self, app_id: str, skip_broken: bool) -> dict[str, str]:
        keys = self._keyring.read()
        revealed = RevealedSecrets()
        for scope in (None, app_id):
            for name in self._folder.names(scope):
                try:
                    value = self._open(keys, scope, name)
                except (Unopenable, OSError) as error:
                    log.error("a secret cannot be opened", app=scope, name=name, why=str(error))
                    revealed.add_broken(name)
                else:
                    if value is not None:  # else it was deleted meanwhile
                        revealed.add(name, value)
        return revealed.collect(skip_broken=skip_broken)

    def _open(self, keys: Keys, app_id: str | None, name: str) -> str | None:
        content = self._folder.read(app_id, name)
        if content is None:
            return None
        if sealed_by(content) not in keys.known:  # a rotation has begun since they were read
            keys = self._keyring.read()
        return open_file(keys.known, content, app_id, name)

    # Rotation

    async def _begin_rotation(self, _: Transaction, row: FolderRow) -> str:
        """Add a key, unless a rotation is under way; writers seal by it from now on."""
        keys = await self._run_in_thread(self._keyring.read)
        if keys.newest != row.key_id:
            return keys.newest
        await self._run_in_thread(self._keyring.add_new)
        keys = await self._run_in_thread(self._keyring.read)
        return keys.newest

    async def _reseal(self, scopes: Sequence[str | None]) -> Outcome:
        count = 0
        unopenable: list[str] = []
        for app_id in scopes:
            outcome = await self._use_folder(partial(self._reseal_scope, app_id))
            count += outcome.count
            unopenable += outcome.unopenable
        return Outcome(count, tuple(unopenable))

    def _reseal_scope(self, app_id: str | None) -> Outcome:
        keys = self._keyring.read()
        count = 0
        unopenable: list[str] = []
        for name in self._folder.names(app_id):
            try:
                content = self._folder.read(app_id, name)
                if content is None or sealed_by(content) == keys.newest:
                    continue
                value = open_file(keys.known, content, app_id, name)
            except Unopenable:
                unopenable.append(secret_path(app_id, name))
                continue
            self._folder.write(app_id, name, seal_file(keys.sealing, value, app_id, name))
            count += 1
        return Outcome(count, tuple(unopenable))

    async def _end_rotation(self, tx: Transaction, newest: str, count: int) -> Outcome:
        """Go on without the old key; `count` secrets were sealed again before.

        What a server that did not know the new key has written meanwhile is sealed again first.
        """
        outcome = await self._reseal(await self._use_folder(self._folder.scopes))
        await store.set_key(tx, newest)
        detail = {"secrets": count + outcome.count, "key_id": newest}
        await tx.record(Event.core("keys", "KEYS_ROTATED", tx.actor, new=detail))

        async def drop_the_old() -> None:
            await self._run_in_thread(lambda: self._keyring.keep_only(newest))

        tx.after_commit(drop_the_old)
        return outcome

    # The disk

    async def _use_folder(self, work: Callable[[], T]) -> T:
        """Use the folder, after a look whether it is still the one: a share that is not mounted
        is empty, which must not count as having no secrets. Raises OSError."""

        def checked() -> T:
            if self._folder.identity() != self._identity:
                raise OSError(f"{self._folder.root} is not the folder of this database's secrets")
            return work()

        return await self._run_in_thread(checked)

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        async with self._threads.hold():
            return await anyio.to_thread.run_sync(work)

    async def _guard(self, work: Awaitable[T]) -> T:
        """A folder that is full or away, or a key that is, is no fault of the caller's."""
        try:
            return await work
        except (OSError, BootError) as error:
            log.error("secrets cannot be read or written", why=str(error))
            raise Unavailable("secrets cannot be read or written at the moment") from None
