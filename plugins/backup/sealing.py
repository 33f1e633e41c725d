"""Encrypted backups: a stream of authenticated chunks, with a key in a file of its own.

The format is a mark of 16 bytes, the header of libsodium's secretstream (XChaCha20-Poly1305), and
chunks of 64 KiB. The last one is marked as final: a file that was cut off does not open.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from kernel.public import BadRequest, Keyring, write_file

MARK: Final = b"caudex sealed 1\n"
_CHUNK: Final = 1 << 16
_FINAL: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_MESSAGE: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_HEADER: Final = sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_MORE: Final = sodium.crypto_secretstream_xchacha20poly1305_ABYTES


def read_key(file: Path, *, may_create: bool = False) -> bytes:
    """Read the key of backups. Raises BadRequest, and BootError for a key that is too short.

    `may_create` makes a new key where the file is missing; `write_file` gives it mode 0600.
    """
    if may_create and not file.exists():
        text = base64.b64encode(secrets.token_bytes(32)) + b"\n"
        write_file(file, text, replace=False)
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise BadRequest(f"{file} can be read by other accounts (mode {mode:04o}): chmod 600 it")
    text = file.read_bytes().decode("ascii", "replace").strip()
    if not text:
        raise BadRequest(f"{file} is empty: restore the key")
    return Keyring("backup", file.parent, text).read().sealing


class _Writer:
    """Encrypts what is written."""

    def __init__(self, stream: IO[bytes], key: bytes) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        header = sodium.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)
        stream.write(MARK + header)

    def write(self, data: bytes) -> int:
        self._buffer += data
        while len(self._buffer) > _CHUNK:
            self._push(bytes(self._buffer[:_CHUNK]), _MESSAGE)
            del self._buffer[:_CHUNK]
        return len(data)

    def close(self) -> None:
        """Write the rest as the final chunk."""
        self._push(bytes(self._buffer), _FINAL)

    def _push(self, data: bytes, tag: int) -> None:
        chunk = sodium.crypto_secretstream_xchacha20poly1305_push(self._state, data, MARK, tag)
        self._stream.write(chunk)


class _Reader:
    """Decrypts what is read. Raises ValueError where a chunk is damaged or missing."""

    def __init__(self, stream: IO[bytes], key: bytes) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._ended = False
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        header = stream.read(_HEADER)
        if len(header) < _HEADER:
            raise ValueError("it is cut off")
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key)

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size and not self._ended:
            self._pull()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def finish(self) -> None:
        """Read to the final chunk."""
        while not self._ended:
            self._buffer.clear()
            self._pull()

    def _pull(self) -> None:
        chunk = self._stream.read(_CHUNK + _MORE)
        if len(chunk) < _MORE:
            raise ValueError("it is cut off")
        try:
            data, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(self._state, chunk, MARK)
        except CryptoError:
            raise ValueError("the key is another one, or the file is damaged") from None
        self._buffer += data
        self._ended = tag == _FINAL


@contextmanager
def sealed(stream: IO[bytes], key: bytes | None) -> Generator[IO[bytes]]:
    """Encrypt what is written; without a key the stream itself takes it."""
    if key is None:
        yield stream
        return
    writer = _Writer(stream, key)
    yield writer  # pyright: ignore[reportReturnType] - tarfile calls `write` alone
    writer.close()


@contextmanager
def opened(stream: IO[bytes], key: bytes | None) -> Generator[IO[bytes]]:
    """Decrypt a file that is encrypted. Raises BadRequest without a key, ValueError for damage."""
    if stream.read(len(MARK)) != MARK:
        stream.seek(0)
        yield stream
        return
    if key is None:
        raise BadRequest(f"{stream.name} is encrypted: name its key with --key-file")
    reader = _Reader(stream, key)
    yield reader  # pyright: ignore[reportReturnType] - tarfile calls `read` alone
    reader.finish()
