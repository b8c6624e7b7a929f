"""Published files are fetched whole, gone on with, hashed, and refused without leaving anything behind."""

import dataclasses
import errno
import hashlib
import io
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vidpipe.pipeline.backbones.transformers_names import parse_name
from vidpipe.pipeline.checkpoints import fetch
from vidpipe.pipeline.checkpoints.dialects import SPELLINGS
from vidpipe.pipeline.checkpoints.fetch import downloads_folder, fetched, own_place, torch_hub_folder
from vidpipe.pipeline.checkpoints.published import Published, published
from vidpipe.pipeline.checkpoints.transformers_models import spelling_of
from vidpipe.pipeline.errors import FileError, OutOfSpaceError, WeightsError
from vidpipe.pipeline.files import write_json

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 64
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    content = CONTENT
    ranges = True
    cut = 0
    kind = "application/octet-stream"
    status = 0
    wait = 0.0
    location = ""
    mark = '"1"'

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        own, asked = self.server, self.headers.get("Range")
        own.asked.append(asked)
        time.sleep(own.wait)
        if own.status or (own.location and not self.path.startswith("/moved")):
            self.send_response(own.status or 302)
            if own.location:
                self.send_header("Location", own.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        is_part = asked and own.ranges and self.headers.get("If-Range", own.mark) == own.mark
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and is_part else 0
        if begin >= len(own.content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(own.content) - 1}/{len(own.content)}")
        self.send_header("Content-Type", own.kind)
        self.send_header("ETag", own.mark)
        self.send_header("Content-Length", str(len(own.content) - begin))
        self.end_headers()
        self.wfile.write(own.content[begin : own.cut or None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("VIDPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    with Server() as own:
        thread = threading.Thread(target=own.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield own
        own.shutdown()
        thread.join()


def entry(server: Server, sha256: str = DIGEST[:8]) -> Published:
    some = next(iter(published().values()))
    return dataclasses.replace(some, url=f"http://127.0.0.1:{server.server_port}/w.pth", sha256=sha256)


def left() -> list[str]:
    """Return the names of all files but the list of digests."""
    files = (own.name for own in downloads_folder().rglob("*") if own.is_file())
    return sorted(own for own in files if own != "known_digests.json")


def learnt() -> dict[str, str]:
    place = downloads_folder() / "known_digests.json"
    return json.loads(place.read_text()) if place.is_file() else {}


def test_a_file_comes_whole_and_once(server):
    came = []
    path = fetched(entry(server), advance=lambda number, total: came.append((number, total)))
    assert path.read_bytes() == CONTENT
    assert sum(number for number, _ in came) == len(CONTENT) == came[-1][1]
    assert fetched(entry(server)) == path
    assert len(server.asked) == 1
    assert left() == ["w.pth"]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_goes_on(server, ranges: bool):
    server.cut = 5000
    with pytest.raises(WeightsError, match=f"broke off after 5000 of {len(CONTENT)} bytes"):
        fetched(entry(server))
    server.cut, server.ranges = 0, ranges
    assert fetched(entry(server)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=5000-"]
    assert left() == ["w.pth"]


def test_a_part_of_another_version_is_not_gone_on_with(server):
    server.cut = 5000
    with pytest.raises(WeightsError, match="broke off"):
        fetched(entry(server, ""))
    server.cut, server.mark, server.content = 0, '"2"', CONTENT[:4] + CONTENT[4:][::-1]
    assert fetched(entry(server, "")).read_bytes() == server.content
    assert server.asked == [None, "bytes=5000-"]


def test_a_full_disk_keeps_what_came_and_the_next_call_goes_on(server, monkeypatch: pytest.MonkeyPatch):
    def full(answer: Any, partial: Path, **_: Any) -> None:
        partial.write_bytes(answer.read(5000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(fetch, "_append", full)
        with pytest.raises(OutOfSpaceError):
            fetched(entry(server))
    assert left() == ["w.pth.partial", "w.pth.partial.json"]
    assert fetched(entry(server)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=5000-"]
    assert left() == ["w.pth"]


def test_a_part_that_is_whole_already_is_not_in_the_way(server):
    server.cut = 5000
    with pytest.raises(WeightsError, match="broke off"):
        fetched(entry(server))
    partial = next(downloads_folder().rglob("*.partial"))
    partial.write_bytes(CONTENT)
    server.cut = 0
    assert fetched(entry(server)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("traits", "said"),
    [
        ({"content": b"PK other"}, "is not .*: its sha256 begins with"),
        ({"content": b"<html></html>", "kind": "text/html"}, "a web page in place of the file"),
        ({"content": b"<html></html>"}, "something else than weights: a page of HTML"),
        ({"status": 404}, "answers 404 .* put it at"),
        ({"wait": 0.5}, "cannot be reached .*timed out.* put it at"),
    ],
)
def test_what_is_not_the_file_leaves_nothing(server, traits: dict, said: str):
    for name, own in traits.items():
        setattr(server, name, own)
    with pytest.raises(WeightsError, match=said):
        fetched(entry(server), timeout=0.1 if server.wait else 10)
    assert not list(downloads_folder().rglob("*"))


def test_no_network_says_where_to_put_the_file(server):
    gone = dataclasses.replace(entry(server), url="http://127.0.0.1:1/w.pth")
    with pytest.raises(WeightsError) as refused:
        fetched(gone)
    assert str(own_place(gone)) in str(refused.value)
    own_place(gone).parent.mkdir(parents=True)
    own_place(gone).write_bytes(CONTENT)
    assert fetched(gone) == own_place(gone)


def test_a_redirect_is_followed(server):
    server.location = "/moved/w.pth"
    assert fetched(entry(server)).read_bytes() == CONTENT


def test_two_at_once_fetch_it_once(server):
    server.wait = 0.1
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fetched, [entry(server)] * 2)
    assert first == second
    assert len(server.asked) == 1


def test_torch_hubs_folder_is_believed_by_digest_alone(server):
    place = torch_hub_folder() / "w.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert fetched(entry(server)) == place
    assert fetched(entry(server, "")) != place
    place.write_bytes(b"PK other")
    assert fetched(entry(server)) == own_place(entry(server))


def test_a_file_without_a_known_digest_is_learnt_and_refused_when_changed(server):
    own = entry(server, "")
    path = fetched(own)
    path.write_bytes(b"PK other")
    how = f"remove the line of {own.url} from {downloads_folder() / 'known_digests.json'}"
    with pytest.raises(WeightsError, match=f"is not the file that.* {how}"):
        fetched(own)
    path.unlink()
    server.content = b"PK other"
    with pytest.raises(WeightsError, match=f"gave is not.* {how}"):
        fetched(own)
    assert (left(), learnt()) == ([], {own.url: DIGEST})
    (downloads_folder() / "known_digests.json").write_text("{}")
    assert fetched(own).read_bytes() == b"PK other"


def test_the_whole_digest_is_learnt_where_the_registry_has_its_beginning(server):
    path = fetched(entry(server))
    assert learnt() == {entry(server).url: DIGEST}
    other = DIGEST[:8] + DIGEST[8:][::-1]  # as of a file that was made to begin alike
    (downloads_folder() / "known_digests.json").write_text(json.dumps({entry(server).url: other}))
    with pytest.raises(WeightsError, match=f"begins with {DIGEST[:16]}, not {other[:16]}"):
        fetched(entry(server))
    # What was learnt of a file that the registry does not have any more is not held against the new one.
    (downloads_folder() / "known_digests.json").write_text(json.dumps({entry(server).url: "0" * 64}))
    assert fetched(entry(server)) == path
    assert learnt() == {entry(server).url: DIGEST}


def read_only(path: Path, content: object) -> None:
    raise FileError(f"{path} cannot be written: Read-only file system")


def test_a_file_that_was_put_there_by_hand_is_learnt(server, monkeypatch: pytest.MonkeyPatch):
    own = entry(server, "")
    own_place(own).parent.mkdir(parents=True)
    own_place(own).write_bytes(b"<html></html>")
    fetched(own)
    assert learnt() == {}  # no weights: reading it says so
    own_place(own).write_bytes(CONTENT)
    with monkeypatch.context() as patched:
        patched.setattr(fetch, "write_json", read_only)
        assert (fetched(own), learnt()) == (own_place(own), {})
    assert (fetched(own), learnt()) == (own_place(own), {own.url: DIGEST})
    own_place(own).write_bytes(b"PK other")
    with pytest.raises(WeightsError, match="is not the file that"):
        fetched(own)


def test_a_killed_download_leaves_no_part_of_one_version_under_anothers_mark(server, monkeypatch: pytest.MonkeyPatch):
    server.cut = 5000
    with pytest.raises(WeightsError, match="broke off"):
        fetched(entry(server, ""))
    server.cut, server.mark, server.content = 0, '"2"', CONTENT[:4] + CONTENT[4:][::-1]

    def killed(path: Path, content: object) -> None:
        write_json(path, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fetch, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            fetched(entry(server, ""))
    assert fetched(entry(server, "")).read_bytes() == server.content


def test_a_redirect_away_from_https_is_refused(server):
    handler = fetch._StaysEncrypted(entry(server))
    asked = urllib.request.Request("https://a.org/w.pth")
    with pytest.raises(WeightsError, match=r"leads on to http://b\.org/w\.pth, which is not encrypted"):
        handler.redirect_request(asked, io.BytesIO(), 302, "", {}, "http://b.org/w.pth")
    followed = handler.redirect_request(asked, io.BytesIO(), 302, "", {}, "https://b.org/w.pth")
    assert followed.full_url == "https://b.org/w.pth"


def test_rows_that_share_tensors_and_not_clips_say_how_they_are_treated():
    """Source: PySlowFast's ssv2.py and torchvision's transforms, as the recipes' words say."""
    from vidpipe.pipeline.checkpoints.recipes import RECIPES

    rows = published()
    for name in ("slow_only_50.ptv_ssv2", "slowfast_50_8x8.ptv_ssv2"):
        recipe = RECIPES[rows[name].recipe]
        assert (recipe.preprocessing.clip_rule, recipe.fps) == ("segments", None)
    second = [RECIPES[own.recipe] for own in rows.values() if ".tv2_" in own.name]
    assert [(own.preprocessing.short_side, own.preprocessing.crop) for own in second] == [(232, 224)] * 3
    # Their scores are of several labels at once, which nothing here can use yet.
    assert not [own.name for own in rows.values() if own.classes == "charades"]


def test_no_two_rows_claim_one_file():
    begins = [own.sha256 for own in published().values() if own.sha256]
    assert len(set(begins)) == len(begins) and {len(own) for own in begins} == {8}
    assert len({own.url for own in published().values()}) == len(published())


SPELT = {(spelling.dialect, backbone) for spelling in SPELLINGS for backbone in spelling.backbones}


def is_of_transformers(own: Published) -> bool:
    """Whether a row is of a model of the hub, and has the network's full name and its makers' recipe."""
    described = parse_name(own.backbone) if own.repository else None
    if described is None:
        return False
    spelling = spelling_of(described)
    return (own.backbone, own.dialect, own.recipe) == (described.name, spelling.dialect, spelling.recipe)


def test_what_is_registered_can_be_read():
    """Every row: a registered network, recipe and class list, and a spelling of that network in that dialect."""
    from vidpipe.pipeline.backbones.registry import BACKBONES
    from vidpipe.pipeline.checkpoints.class_lists import class_list_names
    from vidpipe.pipeline.checkpoints.recipes import RECIPES

    wrong = {
        own.name: [
            what
            for what, good in {
                "backbone": own.backbone in BACKBONES,
                "recipe": own.recipe in RECIPES,
                "spelling": (own.dialect, own.backbone) in SPELT or is_of_transformers(own),
                "classes": own.classes in ("", *class_list_names()),
            }.items()
            if not good
        ]
        for own in published().values()
    }
    assert {name: what for name, what in wrong.items() if what} == {}
