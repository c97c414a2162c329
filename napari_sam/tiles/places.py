"""Where a store of embeddings lies: a folder, a .zip file, a URL, memory; its troubles told."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, WrapperStore, ZipStore

from napari_sam.errors import InputError, first_line

from .store_errors import StoreUnusable

__all__ = ["ROOT", "Place", "Where", "find_place"]

Where = str | os.PathLike[str] | Store

ROOT = "zarr.json"
"""The key that makes a group of a folder. It is written last: without it there is no store."""

_T = TypeVar("_T")


class Place(WrapperStore[Store]):
    """A zarr store that tells in one sentence why it cannot be read or written.

    Each key is written whole or not at all: zarr's `LocalStore` writes beside and renames (since
    3.1.3), object stores put whole objects.

    Parameters
    ----------
    store : Store
        The store itself.
    name : str, optional
        What messages call it.
    """

    def __init__(self, store: Store, name: str | None = None) -> None:
        super().__init__(store)
        self.name = str(store) if name is None else name
        self.folder = store.root if isinstance(store, LocalStore) else None
        # What opens it again, in another process too.
        self.given: Where = store if name is None else str(self.folder or name)

    def _with_store(self, store: Store) -> Place:
        return Place(store, self.name)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a key; None if it is not there."""
        with self._trouble("read"):
            return await self._store.get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of keys."""
        with self._trouble("read"):
            return await self._store.get_partial_values(prototype, key_ranges)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key of a store that is still there."""
        if self._store.read_only:
            raise StoreUnusable(
                f"{self.name} was opened for reading only: copy it to a folder to go on with it."
            )
        # LocalStore would make the folders again, perhaps below the empty place of a disk that
        # went away, and fill that.
        self.check_folder()
        with self._trouble("written"):
            await self._store.set(key, value)

    async def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        with self._trouble("written"):
            await self._store.delete(key)

    def check_folder(self) -> None:
        """Refuse a folder that vanished.

        Raises
        ------
        StoreUnusable
            If the store was in a folder that is no longer there.
        """
        if self.folder is not None and not (self.folder / ROOT).is_file():
            raise StoreUnusable(
                f"{self.name} is no longer there: look whether its disk is connected, or whether "
                f"it was moved or deleted."
            )

    def fetch(self, key: str) -> bytes | None:
        """Return what a key holds; None if it is not there."""
        return self.fetch_all([key])[0]

    def fetch_all(self, keys: list[str]) -> list[bytes | None]:
        """Return what each of many keys holds, reading them side by side."""

        async def all_of_them() -> list[Buffer | None]:
            prototype = default_buffer_prototype()
            return await asyncio.gather(*(self.get(key, prototype) for key in keys))

        return [None if found is None else found.to_bytes() for found in _wait(all_of_them())]

    def put(self, key: str, value: bytes) -> None:
        """Write a key."""
        if type(self._store) is LocalStore and not self._store.read_only:
            # What set() would do, in this thread: zarr goes through three others, and where the
            # encoder has all cores each of them waits for its turn.
            self.check_folder()
            with self._trouble("written"):
                _write_whole(self._store.root / key, value)
        else:
            _wait(self.set(key, default_buffer_prototype().buffer.from_bytes(value)))

    def drop(self, key: str) -> None:
        """Remove a key, if it is there."""
        _wait(self.delete(key))

    def names(self, folder: str = "") -> list[str]:
        """Return what lies in a folder of keys, without what a killed process was writing."""

        async def all_of_them() -> list[str]:
            with self._trouble("read"):
                return [name async for name in self._store.list_dir(folder)]

        return [name for name in _wait(all_of_them()) if name and not name.endswith(".partial")]

    def all_keys(self) -> list[str]:
        """Return all keys, likewise."""

        async def all_of_them() -> list[str]:
            with self._trouble("read"):
                return [key async for key in self._store.list()]

        return [key for key in _wait(all_of_them()) if not key.endswith(".partial")]

    def size(self, prefix: str = "") -> int:
        """Return how many bytes all keys hold together, or those that start like this."""
        if isinstance(self._store, ZipStore) and not prefix:
            return self._store.path.stat().st_size
        with self._trouble("read"):
            return _wait(self._store.getsize_prefix(prefix))

    def create(self, documents: Mapping[str, bytes]) -> None:
        """Write the first keys of a store, `ROOT` last: all of them, or none stays behind.

        Raises
        ------
        StoreUnusable
            If something else is there already, or it cannot be written.
        """
        if self._store.read_only:
            raise StoreUnusable(
                f"{self.name} cannot be written: make the store in a folder and save it with "
                f"save_zip."
            )
        with self._trouble("written"):
            was_there = self.folder is not None and self.folder.exists()
            if self.folder is not None and was_there and not self.folder.is_dir():
                raise StoreUnusable(f"{self.name} is a file: choose the name of a new folder.")
        found = set(self.names())
        if ROOT in found:
            raise StoreUnusable(
                f"{self.name} exists already: open it to go on with it, or choose another place."
            )
        if found - {key.split("/")[0] for key in documents}:
            raise StoreUnusable(f"{self.name} is not empty: choose the name of a new folder.")
        buffer = default_buffer_prototype().buffer
        try:
            for key in sorted(documents, key=lambda key: key == ROOT):
                with self._trouble("written"):
                    _wait(self._store.set(key, buffer.from_bytes(documents[key])))
        except BaseException:
            if self.folder is not None and not was_there:
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                for key in documents:
                    self.drop(key)
            raise

    def sweep(self) -> None:
        """Remove what killed processes left half-written, an hour ago or longer."""
        before = time.time() - 3600.0
        for path in () if self.folder is None else self.folder.rglob("*.partial"):
            with self._trouble("written"):
                try:
                    if path.stat().st_mtime < before:
                        path.unlink()
                except FileNotFoundError:  # its writer was quicker
                    continue

    @contextmanager
    def _trouble(self, doing: str) -> Iterator[None]:
        """Turn what disks and networks raise into one sentence."""
        try:
            yield
        except InputError:
            raise
        except OSError as error:
            raise StoreUnusable(self._sentence(doing, error)) from error
        except Exception as error:
            # Libraries for object stores raise whatever they were built on.
            if self.folder is not None or isinstance(self._store, ZipStore):
                raise
            raise StoreUnusable(self._sentence(doing, error)) from error

    def _sentence(self, doing: str, error: Exception) -> str:
        number = error.errno if isinstance(error, OSError) else None
        reason = (
            (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        ).strip()
        advice = {
            errno.ENOSPC: "make room on that disk and start again, what is there is kept",
            errno.EDQUOT: "make room in your quota and start again, what is there is kept",
            errno.EACCES: "choose a place that you may use, or ask for the permission",
            errno.EPERM: "choose a place that you may use, or ask for the permission",
            errno.EROFS: "choose a place that you may write to",
        }.get(number or 0, "look whether the place can be reached and used, and try again")
        reason = (reason.splitlines() or [type(error).__name__])[0].rstrip(".")
        return f"{self.name} could not be {doing} ({reason}): {advice}."


def find_place(where: Where, new: bool = False) -> Place:
    """Return the place that a path, a URL or a zarr store names.

    Parameters
    ----------
    where : path, str or Store
        A folder; a .zip file, which is only read; a URL that fsspec knows, such as
        ``s3://bucket/name``; or a zarr store.
    new : bool
        Whether a store is to be made there: then it need not exist.

    Raises
    ------
    StoreUnusable
        If it does not exist, or nothing that is installed can read it.
    """
    if isinstance(where, Place):
        return where
    if isinstance(where, Store):
        return Place(where)
    name = os.fspath(where)
    if "://" in name:
        return Place(_remote(name), name)
    path = Path(name).expanduser()
    if path.suffix.lower() == ".zip":
        return Place(_zip(path, new), name)
    if not new and not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise StoreUnusable(f"{name} {found}: give the folder or the .zip file of a store.")
    return Place(LocalStore(path.absolute()), name)


def _remote(url: str) -> Store:
    try:
        from zarr.storage import FsspecStore

        # Others write there too: a remembered listing would hide what they did.
        return FsspecStore.from_url(url, storage_options={"use_listings_cache": False})
    except ImportError as error:
        raise StoreUnusable(
            f"{url} needs a package that is not installed ({error}): pip install "
            f"'napari-sam-tiled[cloud]'."
        ) from error
    except Exception as error:
        reason = first_line(error).rstrip(".")
        raise StoreUnusable(
            f"{url} cannot be opened ({reason}): check the URL and your access to it."
        ) from error


def _zip(path: Path, new: bool) -> Store:
    if new:
        raise StoreUnusable(
            f"{path} cannot be filled tile by tile: make the store in a folder and save it with "
            f"save_zip."
        )
    try:
        return _wait(ZipStore.open(path, mode="r"))
    except FileNotFoundError:
        raise StoreUnusable(
            f"{path} does not exist: give the folder or the .zip file of a store."
        ) from None
    except (OSError, zipfile.BadZipFile) as error:
        raise StoreUnusable(
            f"{path} cannot be read ({error}): it is damaged, incomplete or no .zip file; copy it "
            f"again."
        ) from error


def _write_whole(path: Path, value: bytes) -> None:
    """Write a file beside its place and rename it, as zarr's `LocalStore` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{secrets.token_hex(16)}.partial")
    try:
        beside.write_bytes(value)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _wait(work: Coroutine[Any, Any, _T]) -> _T:
    return sync(work)
