"""Columns of one's own pass through; headers as spreadsheets and people write them; paths as people write them."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidpipe.pipeline.errors import ManifestError
from vidpipe.pipeline.manifests.headers import column_names
from vidpipe.pipeline.manifests.locations import local_path, unmarked
from vidpipe.pipeline.manifests.manifest import Manifest, Videos, read_manifest, write_manifest

ODD = 'two\nlines, "quoted"; = and \r and 日本 '


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_columns_of_ones_own_pass_through(tmp_path, name):
    first = _write(
        tmp_path / "first.csv",
        ',path,label,split,group,a/b\n0,x.mp4,a,train, g1 ,"{}"\n1,y.mp4,b,test,,\n'.format(ODD.replace('"', '""')),
    )
    manifest = read_manifest(first)
    assert dict(manifest.videos[0].columns) == {"Unnamed: 0": "0", "group": " g1 ", "a/b": ODD}
    assert [video.group for video in manifest.videos] == ["g1", ""]
    write_manifest(manifest, tmp_path / name)
    back = read_manifest(tmp_path / name)
    assert back == manifest
    assert [dict(video.columns) for video in back.videos] == [dict(video.columns) for video in manifest.videos]


def test_columns_of_ones_own_keep_their_types_in_parquet_and_are_no_part_of_the_digest(tmp_path):
    table = {"path": ["a.mp4", "b.mp4"], "split": ["t", "t"]}
    own = {"n": pa.array([7, None]), "list": pa.array([["x"], None]), "when": pa.array([True, False])}
    pq.write_table(pa.table(table | own), tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    assert dict(manifest.videos[0].columns) == {"n": "7", "list": "['x']", "when": "True"}
    assert dict(manifest.videos[1].columns) == {"n": "", "list": "", "when": "False"}
    write_manifest(manifest, tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet").select(list(own)).equals(pa.table(own))
    write_manifest(manifest, tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines()[:2] == ["path,split,n,list,when", "a.mp4,t,7,['x'],True"]
    bare = Manifest(tuple(replace(video, columns={}) for video in manifest.videos))
    assert bare.digest == manifest.digest
    assert bare != manifest


def test_columns_follow_their_videos(tmp_path):
    text = "path,label,split,n\n" + "".join(f"{i}.mp4,a,{'train' if i % 3 else 'test'},{i}\n" for i in range(3000))
    manifest = read_manifest(_write(tmp_path / "m.csv", text))
    assert [video.columns["n"] for video in manifest.subset("test").videos] == [str(i) for i in range(0, 3000, 3)]
    assert manifest.videos[2047].columns["n"] == "2047"
    assert manifest.videos[-1] == list(manifest.videos)[-1]
    assert manifest.videos[::-1][0].columns["n"] == "2999"
    assert manifest.relative_to(tmp_path / "x").videos[5].columns == {"n": "5"}
    with pytest.raises(IndexError):
        _ = manifest.videos[3000]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,label,split,Video_ID", "column 'Video_ID' looks like 'video_id', which is missing"),
        ("path,split,labels", "column 'labels' looks like 'label', which is missing"),
        ("path,split,lable", "column 'lable' looks like 'label', which is missing"),
        ("path,split,Group", "column 'Group' looks like 'group', which is missing"),
        ("path,split,note,note", "column 'note' appears twice; give each a name of its own"),
        ("path,split,path ", "column 'path' appears twice"),
        ("Path,split", "column 'Path' looks like 'path', which is missing"),
    ],
)
def test_likely_misspellings_and_repeated_names_are_refused(tmp_path, header, message):
    assert message in _refusal(_write(tmp_path / "m.csv", f"{header}\n{','.join('x' for _ in header.split(','))}\n"))


def test_a_column_that_looks_like_ours_is_free_beside_ours(tmp_path):
    manifest = read_manifest(_write(tmp_path / "m.csv", "path,label,split,labels,source,id\na,x,t,1,2,4\n"))
    assert manifest.videos.own_names == ("labels", "source", "id")


def test_columns_without_a_name_are_named_as_pandas_does_and_empty_ones_are_left_out(tmp_path):
    assert column_names(["", "path ", "x", " "]) == ["Unnamed: 0", "path", "x", "Unnamed: 3"]
    manifest = read_manifest(_write(tmp_path / "m.csv", ",path,split,,\n0,a.mp4,t,,\n1,b.mp4,t,,\n"))
    assert manifest.videos.own_names == ("Unnamed: 0",)


@pytest.mark.parametrize(
    "text",
    [
        "path;label;split\na, b.mp4;x;t\n",
        "\ufeffpath\tlabel\tsplit\r\na, b.mp4\tx\tt\r\n",
        'sep=;\r\n"path";"label";"split"\r\n"a, b.mp4";"x";"t"\r\n',
        '"sep=|"\npath|label|split\na, b.mp4|x|t\n',
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path, text):
    (video,) = read_manifest(_write(tmp_path / "m.csv", text)).videos
    assert (video.written_path, video.labels, video.split) == ("a, b.mp4", ("x",), "t")


def test_utf16_is_told(tmp_path):
    (tmp_path / "m.csv").write_bytes("path,label,split\na.mp4,x,t\n".encode("utf-16"))
    assert "this is UTF-16; save it as UTF-8" in _refusal(tmp_path / "m.csv")


def test_lines_are_right_behind_blank_lines_and_line_ends_in_cells(tmp_path):
    path = _write(tmp_path / "m.csv", 'path,label,split,note\n\na.mp4,x,t,"1\n2"\n\nb.mp4,x,,\nc.mp4,x,t,\nd.mp4,x,,\n')
    assert [line.split(": ")[0] for line in _refusal(path).splitlines()[1:]] == [f"{path}:6", f"{path}:8"]


def test_the_home_folder_and_urls_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    rows = f"~/a.mp4,t\nfile://{tmp_path}/b%20c.mp4,t\nFILE://localhost/d.mp4,t\n./~/e.mp4,t\n~f.mp4,t\n"
    manifest = read_manifest(_write(tmp_path / "m.csv", f"path,split\n{rows}"))
    assert [video.path for video in manifest.videos] == [
        tmp_path / "home/a.mp4",
        tmp_path / "b c.mp4",
        Path("/d.mp4"),
        tmp_path / "~/e.mp4",
        tmp_path / "~f.mp4",
    ]
    ids = ["~/a", f"{tmp_path}/b c", "/d", "~/e", "~f"]  # the home folder is another one elsewhere
    assert [video.video_id for video in manifest.videos] == ids
    write_manifest(manifest, tmp_path / "again.csv")
    assert read_manifest(tmp_path / "again.csv") == manifest


def test_other_machines_files_are_refused(tmp_path):
    message = "m.csv:2: column 'path': must be a file of this machine (file:///folder/name.mp4), got 'file://nas/a.mp4'"
    assert message in _refusal(_write(tmp_path / "m.csv", "path,split\nfile://nas/a.mp4,t\n"))
    rows = "https://x.org/a.mp4,t\nS3://bucket/b.mp4,t\nc:/d.mp4,t\n"
    refusal = _refusal(_write(tmp_path / "urls.csv", f"path,split\n{rows}"))
    assert [line.partition("column 'path': ")[2] for line in refusal.splitlines()] == [
        "",
        *(
            f"must be a file of this machine, since URLs are not read; fetch '{url}' first"
            for url in ("https://x.org/a.mp4", "S3://bucket/b.mp4")
        ),
    ]
    with pytest.raises(ValueError, match="must be the URL of a file"):
        local_path("file:///a%0ab.mp4")
    assert [unmarked(path) for path in ("~/a", "a/~/b", "file:/x")] == ["./~/a", "a/~/b", "./file:/x"]


def test_videos_can_be_made_from_columns(tmp_path):
    import numpy as np

    manifest = read_manifest(_write(tmp_path / "m.csv", "path,label,split,start,n\na.mp4,x|y,t,2,1\nb.mp4,,u,,2\n"))
    names = {"video_id": "video_id", "path": "path", "labels": "label", "split": "split"}
    cells = {name: manifest.videos.cells(column) for name, column in names.items()}
    made = Videos.of_texts(**cells, intervals=manifest.videos.intervals, own={"n": manifest.videos.cells("n")})
    assert [replace(video, path=tmp_path / video.path) for video in made] == list(manifest.videos)
    assert np.isnan(manifest.videos.intervals).sum() == 3
    assert Manifest(made).digest == manifest.digest
