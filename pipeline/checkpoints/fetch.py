"""Published files on this machine: found where other programs keep them, or downloaded, and hashed whole each time.

A download goes to a file that ends in ``.partial``; a second call goes on from its end. The file gets its name only
when it is whole and its digest is the one that the registry or an earlier download knows. The whole digest of a file
is learnt when it is first accepted; the registry has at most the beginning of it.
"""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..backbones.places import what_it_is
from ..errors import WeightsError
from ..files import PARTIAL, disk_full_explained, held_file, user_cache, write_json
from .containers import begins_as_weights, file_sha256
from .hub import model_folder
from .published import PIP, Published, published
from .starter import starter_file

_BLOCK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
_HOME = "VIDPIPE_CACHE"
_LEARNT = "known_digests.json"
_HTML = "text/html"
_SHOWN = 16  # digits of a digest in a message

Advance = Callable[[int, int | None], None]  # (bytes that came, bytes in all or None)


def cache_folder() -> Path:
    """Return where vidpipe keeps what it downloads and converts: ``$VIDPIPE_CACHE``, or ``~/.cache/vidpipe``."""
    own = os.environ.get(_HOME)
    return Path(own).expanduser() if own else user_cache()


def downloads_folder() -> Path:
    """Return where downloaded files of weights lie."""
    return cache_folder() / "downloads"


def torch_hub_folder() -> Path:
    """Return where torch.hub keeps files of weights."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch").expanduser() / "hub" / "checkpoints"


def own_place(entry: Published) -> Path:
    """Return where vidpipe keeps the file; sources give the same name to different files, so that each has a folder."""
    return downloads_folder() / entry.name / entry.file


def fetched(entry: Published, *, advance: Advance | None = None, timeout: float = TIMEOUT) -> Path:
    """Return the file of published weights, from this machine if it is there, else downloaded.

    What a package holds is where pip put it. Of a model of Hugging Face's hub it is a folder, in the cache of Hugging
    Face's own library, which also shows how it comes.

    Args:
        entry: which one.
        advance: called as bytes come.
        timeout: seconds without a byte after which to give up.

    Raises:
        WeightsError: if it cannot be had, or is not the file that it should be.
        OutOfSpaceError: if the disk is full; what came is kept, and the next call goes on.
    """
    if entry.repository:
        return _model_folder(entry, timeout)
    if entry.url.startswith(PIP):
        return _checked(starter_file(entry.backbone), entry)
    found = find_file(entry)
    if found is not None:
        return found
    place = own_place(entry)
    with _alone(entry.name):
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_file():  # another process has just brought it
            return _checked(place, entry)
        try:
            _download(entry, place, advance or _quietly, timeout)
        finally:
            with suppress(OSError):  # it stays if anything lies in it, such as a part of the file
                place.parent.rmdir()
        return place


def _model_folder(entry: Published, timeout: float) -> Path:
    try:
        return model_folder(entry.repository, timeout=timeout)
    except WeightsError as error:
        raise WeightsError(
            f"{entry.name} cannot be fetched: {error.marked}. Where there is a network, run hf download "
            f"{entry.repository}; bring the folder that it names here, and give it as {entry.backbone}=FOLDER"
        ) from error


def find_file(entry: Published) -> Path | None:
    """Return the file if it is on this machine and is the right one: vidpipe's own, or torch.hub's.

    A file of another program is taken only if the registry knows how its digest begins.

    Raises:
        WeightsError: if vidpipe's own copy is damaged.
    """
    place = own_place(entry)
    if place.is_file():
        return _checked(place, entry)
    other = torch_hub_folder() / entry.file
    if entry.sha256 and other.is_file() and file_sha256(other).startswith(_known(entry, _learnt())):
        return other
    return None


def entry_of(digest: str) -> Published | None:
    """Return the entry of the registry whose file has this sha256; None if there is none, or nobody knows.

    The registry has the beginnings of some digests; others were learnt when their files came.

    Args:
        digest: hexadecimal, whole.
    """
    learnt = _learnt()
    known = {own: _known(own, learnt) for own in published().values()}
    fits = [own for own, begins in known.items() if begins and digest.startswith(begins)]
    return fits[0] if len(fits) == 1 else None


def _quietly(came: int, total: int | None) -> None:
    """Show nothing."""


def _checked(place: Path, entry: Published) -> Path:
    """Return ``place`` if its digest is the one that is known.

    Raises:
        WeightsError: if it is not.
    """
    digest = file_sha256(place)
    if wrong := _difference(entry, digest):
        raise WeightsError(
            f"{place} is not the file that {entry.name} was: {wrong}. Remove it, and fetch it again"
            f"{_accepting(entry, digest)}"
        )
    if begins_as_weights(place):
        with suppress(OSError):  # a cache that others have filled, and that may only be read
            _learn(entry, digest)
    return place


def _known(entry: Published, learnt: Mapping[str, str]) -> str:
    """Return how the file's digest begins, whole if it was learnt; empty if nobody knows.

    What was learnt of another file than the registry has now, does not count.
    """
    whole = learnt.get(entry.url, "")
    return whole if whole.startswith(entry.sha256) else entry.sha256


def _difference(entry: Published, digest: str) -> str:
    """Return in words how a digest differs from the one that is known; empty if it does not."""
    known = _known(entry, _learnt())
    if digest.startswith(known):
        return ""
    return f"its sha256 begins with {digest[: len(known[:_SHOWN])]}, not {known[:_SHOWN]}"


def _accepting(entry: Published, digest: str) -> str:
    """Return how to take a file that differs from what came before, if the registry has nothing against it."""
    if not digest.startswith(entry.sha256):
        return ""
    return f"; or, to take it as it is, remove the line of {entry.url} from {downloads_folder() / _LEARNT}"


def _download(entry: Published, place: Path, advance: Advance, timeout: float) -> None:
    partial = place.with_name(place.name + PARTIAL)
    with disk_full_explained(place):
        if not _receive(entry, partial, advance, timeout):
            _remove(partial)  # a part that the server cannot go on from
            _receive(entry, partial, advance, timeout)
        digest = file_sha256(partial)
    if not begins_as_weights(partial):
        found = what_it_is(partial)
        _remove(partial)
        raise WeightsError(
            f"{entry.url} gives something else than weights{f': {found}' if found else ''}; nothing was kept. "
            f"{_by_hand(entry)}"
        )
    if wrong := _difference(entry, digest):
        _remove(partial)
        raise WeightsError(
            f"what {entry.url} gave is not {entry.name}: {wrong}. Nothing was kept; if it is so again, the file there "
            f"has been changed{_accepting(entry, digest)}"
        )
    partial.replace(place)
    _remove(_stamp_of(partial))
    _learn(entry, digest)


def _receive(entry: Published, partial: Path, advance: Advance, timeout: float) -> bool:
    """Bring the rest of the file; return False if the server has no more of it than is here, or another part."""
    total = None
    try:
        with _opened(entry, partial, timeout) as answer:
            if answer.headers.get_content_type() == _HTML:
                _remove(partial)
                raise WeightsError(
                    f"{entry.url} gives a web page in place of the file: it has moved or asks for something. "
                    f"{_by_hand(entry)}"
                )
            begun = partial.stat().st_size if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            if begun and not answer.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
                return False
            length = answer.headers.get("Content-Length")
            total = begun + int(length) if length else None
            version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            if not begun:
                partial.write_bytes(b"")  # before the new version's mark, lest a part of another is gone on with
            write_json(_stamp_of(partial), {"url": entry.url, "version": version})
            _append(answer, partial, begun=begun, total=total, advance=advance)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and partial.is_file():
            return False
        raise WeightsError(f"{entry.url} answers {error.code} {error.reason}. {_by_hand(entry)}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        if total is not None:  # it had begun
            raise _broken_off(entry, partial, total) from error
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"{entry.url} cannot be reached ({reason}). {_by_hand(entry)}") from error
    if total is not None and partial.stat().st_size != total:
        raise _broken_off(entry, partial, total)
    return True


def _broken_off(entry: Published, partial: Path, total: int) -> WeightsError:
    return WeightsError(
        f"{entry.url} broke off after {partial.stat().st_size} of {total} bytes. They are kept: the same command goes "
        "on from there"
    )


def _append(answer: Any, partial: Path, *, begun: int, total: int | None, advance: Advance) -> None:
    with partial.open("ab") as file:
        advance(begun, total)
        while block := answer.read(_BLOCK):
            file.write(block)
            advance(len(block), total)


@contextmanager
def _opened(entry: Published, partial: Path, timeout: float) -> Iterator[Any]:
    """Ask for the file, from the end of what is there if that is a part of the same file."""
    request = urllib.request.Request(entry.url, headers={"User-Agent": "vidpipe"})
    version = _version(entry, partial)
    if version:
        request.add_header("Range", f"bytes={partial.stat().st_size}-")
        request.add_header("If-Range", version)
    with urllib.request.build_opener(_StaysEncrypted(entry)).open(request, timeout=timeout) as answer:
        yield answer


class _StaysEncrypted(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but from https to http: what comes then may be anybody's, where no digest is known."""

    def __init__(self, entry: Published) -> None:
        self._entry = entry

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request that follows.

        Raises:
            WeightsError: if it would not be encrypted any more.
        """
        if req.type == "https" and urllib.request.Request(newurl).type != "https":
            fp.close()
            raise WeightsError(
                f"{self._entry.url} leads on to {newurl}, which is not encrypted; nothing was fetched. "
                f"{_by_hand(self._entry)}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _version(entry: Published, partial: Path) -> str:
    """Return the mark of the version that ``partial`` is a part of; empty if it cannot be gone on with."""
    if not (partial.is_file() and partial.stat().st_size and _stamp_of(partial).is_file()):
        return ""
    stamp = _json(_stamp_of(partial))
    version = stamp.get("version", "") if stamp.get("url") == entry.url else ""
    return "" if version.startswith("W/") else version  # a weak mark does not promise the same bytes


def _stamp_of(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _by_hand(entry: Published) -> str:
    return f"Bring the file from there another way, put it at {own_place(entry)}, and give {entry.name}"


def _learnt() -> dict[str, str]:
    return _json(downloads_folder() / _LEARNT)


def _learn(entry: Published, digest: str) -> None:
    """Remember the digest of a file, if it is not known: another file at the same place is refused from now on."""
    if _learnt().get(entry.url) == digest:
        return
    with _alone(_LEARNT):
        downloads_folder().mkdir(parents=True, exist_ok=True)
        write_json(downloads_folder() / _LEARNT, {**_learnt(), entry.url: digest})


def _json(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remove(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    if partial.suffix != ".json":
        _stamp_of(partial).unlink(missing_ok=True)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold back other processes that want the same file until it is here."""
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with held_file(locks / f"{name}.lock"):
        yield
