"""Official lists of data sets: small files of exactly the published form, odd cases, and what is refused."""

import json
import os
import string
from pathlib import Path

import pytest
from heard_progress import Heard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import assert_refused

from vidpipe.cli.spelling import option_name
from vidpipe.pipeline.errors import ManifestError, SettingsError, spelled
from vidpipe.pipeline.manifests.manifest import Manifest, Video, read_manifest, write_manifest
from vidpipe.pipeline.manifests.official.classes import (
    CODE_FIRST,
    INDEX_FIRST,
    INDEX_LAST,
    NAME_ONLY,
    read_any_class_list,
    read_class_list,
)
from vidpipe.pipeline.manifests.official.lists import DATASETS, Imported, ImportSettings, import_official
from vidpipe.pipeline.manifests.official.source import Source, read_records

KINETICS_HEADER = "label,youtube_id,time_start,time_end,split,is_cc"
CHARADES_HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"


def write(path: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


def touch(root: Path, *names: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def take(name: str, *annotations: Path, videos: Path, skip_missing: bool = False, **choices) -> Imported:
    source = Source(annotations=annotations, **choices)
    settings = ImportSettings(source=source, videos=videos, skip_missing=skip_missing)
    return import_official(DATASETS[name], settings, base=videos.parent)


def refusal(name: str, *annotations: Path, videos: Path, **choices) -> str:
    with pytest.raises(ManifestError) as caught:
        take(name, *annotations, videos=videos, **choices)
    return caught.value.text(option_name)


def rows(imported: Imported) -> list[tuple[str, str, str, str]]:
    return [(v.video_id, v.written_path, "|".join(v.labels), v.split) for v in imported.videos]


def returned(imported: Imported, path: Path) -> Manifest:
    """Write and read back."""
    write_manifest(imported.manifest(), path)
    return read_manifest(path)


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    """Lists with CR LF ends, as they are published, and the class whose files are spelt another way."""
    folder = tmp_path / "ucfTrainTestlist"
    write(folder / "classInd.txt", "1 ApplyEyeMakeup", "37 HandstandPushups", end="\r\n")
    for split in (1, 2, 3):
        write(
            folder / f"trainlist0{split}.txt",
            f"ApplyEyeMakeup/v_ApplyEyeMakeup_g0{split}_c01.avi 1",
            f"HandstandPushups/v_HandStandPushups_g0{split}_c01.avi 37",
            end="\r\n",
        )
        write(
            folder / f"testlist0{split}.txt",
            f"ApplyEyeMakeup/v_ApplyEyeMakeup_g1{split}_c01.avi",
            f"HandstandPushups/v_HandStandPushups_g1{split}_c01.avi",
            end="\r\n",
        )
    return folder


@pytest.mark.parametrize("split", [1, 2, 3])
def test_ucf101(tmp_path, ucf, split):
    videos = touch(tmp_path / "UCF-101", f"ApplyEyeMakeup/v_ApplyEyeMakeup_g0{split}_c01.avi")
    imported = take("ucf101", ucf, videos=videos, split=split)
    apply, hand = "ApplyEyeMakeup/v_ApplyEyeMakeup_g", "HandstandPushups/v_HandStandPushups_g"
    assert rows(imported) == [
        (f"{apply}0{split}_c01", f"UCF-101/{apply}0{split}_c01.avi", "ApplyEyeMakeup", "train"),
        (f"{hand}0{split}_c01", f"UCF-101/{hand}0{split}_c01.avi", "HandstandPushups", "train"),
        (f"{apply}1{split}_c01", f"UCF-101/{apply}1{split}_c01.avi", "ApplyEyeMakeup", "test"),
        (f"{hand}1{split}_c01", f"UCF-101/{hand}1{split}_c01.avi", "HandstandPushups", "test"),
    ]
    assert [video.video_id for video in imported.missing] == [row[0] for row in rows(imported)[1:]]
    assert imported.missing_by_split == {"test": 2, "train": 1}
    assert imported.classes_without_videos == {
        "test": ("ApplyEyeMakeup", "HandstandPushups"),
        "train": ("HandstandPushups",),
    }


def test_hmdb51_has_class_names_with_underscores_odd_file_names_and_unused_videos(tmp_path):
    folder = tmp_path / "testTrainMulti_7030_splits"
    odd = "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi"
    bike = "#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ri_med_0.avi"
    write(folder / "cartwheel_test_split1.txt", f"{odd} 1 ", "Acrobacias_de_un_fenomeno_cartwheel_f_0.avi 0 ")
    write(folder / "ride_bike_test_split1.txt", f"{bike} 2 ")
    write(folder / "ride_bike_test_split2.txt", f"{bike} 1 ")
    imported = take("hmdb51", folder, videos=touch(tmp_path / "v", f"cartwheel/{odd}", f"ride_bike/{bike}"))
    assert [row[1:] for row in rows(imported)] == [
        (f"v/cartwheel/{odd}", "cartwheel", "train"),
        ("v/cartwheel/Acrobacias_de_un_fenomeno_cartwheel_f_0.avi", "cartwheel", "unused"),
        (f"v/ride_bike/{bike}", "ride_bike", "test"),
    ]
    assert [video.split for video in imported.missing] == ["unused"]
    assert "holds no *_test_split3.txt" in refusal("hmdb51", folder, videos=tmp_path, split=3)
    write(folder / "wave_test_split1.txt", "a.avi 3")
    assert refusal("hmdb51", folder, videos=tmp_path).endswith(
        "wave_test_split1.txt:1: expected 'file.avi code', with the code 0, 1 or 2, found 'a.avi 3'"
    )


@pytest.fixture
def kinetics(tmp_path: Path) -> Path:
    folder = tmp_path / "annotations"
    write(
        folder / "train.csv",
        "\ufeff" + KINETICS_HEADER,
        "abseiling,-3B32lodo2M,59,69,train,0",
        '"massaging person\'s head",--QUuC4vJs,0,10,train,1',
        end="\r\n",
    )
    write(
        folder / "validate.csv",
        KINETICS_HEADER.removesuffix(",is_cc"),
        "petting animal (not cat),_dbc,40.0,50,validate",
    )
    write(folder / "test.csv", "youtube_id,time_start,time_end,split", "--6bJUbfpnQ,17,27,test")
    return folder


KINETICS_FILES = ("-3B32lodo2M_000059_000069", "--QUuC4vJs_000000_000010", "_dbc_000040_000050")


@pytest.mark.parametrize(
    "places",
    [
        ("", "", ""),
        ("train/", "train/", "val/"),
        ("abseiling/", "massaging person's head/", "petting animal (not cat)/"),
        ("abseiling/", "massaging_person's_head/", "petting_animal_(not_cat)/"),
        ("videos_train/abseiling/", "videos_train/massaging_person's_head/", "videos_val/petting_animal_(not_cat)/"),
    ],
)
def test_kinetics_clips_are_found_wherever_copies_keep_them(tmp_path, kinetics, places):
    write(kinetics / "m.csv", "path,label,split", "a.mp4,b,c")  # a manifest beside the lists is none of them
    files = [f"{place}{name}.mp4" for place, name in zip(places, KINETICS_FILES, strict=True)]
    imported = take("kinetics", kinetics, videos=touch(tmp_path / "k400", *files))
    assert rows(imported) == [
        (KINETICS_FILES[0], f"k400/{files[0]}", "abseiling", "train"),
        (KINETICS_FILES[1], f"k400/{files[1]}", "massaging person's head", "train"),
        (KINETICS_FILES[2], f"k400/{files[2]}", "petting animal (not cat)", "val"),
    ]
    assert imported.missing == ()
    assert all(video.start is None for video in imported.videos)
    (note,) = imported.notes
    assert note.startswith("Passed over: ")
    assert "test.csv gives no labels" in note


def test_whole_recordings_of_kinetics_keep_their_start_and_end(tmp_path, kinetics):
    videos = touch(tmp_path / "k", "-3B32lodo2M.webm", "--QUuC4vJs.mp4", "_dbc_000040_000050.mp4")
    manifest = returned(take("kinetics", kinetics, videos=videos), tmp_path / "m.csv")
    assert [(v.path.name, v.start, v.end) for v in manifest.videos] == [
        ("-3B32lodo2M.webm", 59, 69),
        ("--QUuC4vJs.mp4", 0, 10),
        ("_dbc_000040_000050.mp4", None, None),
    ]


def test_missing_clips_are_written_where_the_others_of_their_split_lie(tmp_path):
    lines = [f"{label},id{i},{i},{i + 10},train" for i, label in enumerate(["a b", "a b", "c", "c", "c", "d e"])]
    file = write(tmp_path / "train.csv", KINETICS_HEADER.removesuffix(",is_cc"), *lines)
    found = [f"train/{'a_b' if i < 2 else 'c'}/id{i}_{i:06d}_{i + 10:06d}.mkv" for i in range(4)]
    imported = take("kinetics", file, videos=touch(tmp_path / "k", *found))
    assert [video.written_path for video in imported.missing] == [
        "k/train/c/id4_000004_000014.mkv",
        "k/train/d_e/id5_000005_000015.mkv",
    ]


def test_a_missing_video_keeps_the_extension_of_its_list_while_the_others_do(tmp_path):
    file = write(tmp_path / "train.csv", "a.mp4 0", "b.mp4 0", "c.webm 0")
    videos = touch(tmp_path / "v", "a.mp4", "b.mp4")
    assert [video.written_path for video in take("kinetics", file, videos=videos).missing] == ["v/c.webm"]
    for name in ("a", "b"):
        (videos / f"{name}.mp4").rename(videos / f"{name}.mkv")
    assert [video.written_path for video in take("kinetics", file, videos=videos).missing] == ["v/c.mkv"]


def test_test_lists_without_labels_are_refused_where_they_are_asked_for(tmp_path, kinetics):
    assert "test.csv gives no labels, and a manifest needs a class" in refusal(
        "kinetics", kinetics / "test.csv", videos=tmp_path
    )


@pytest.mark.parametrize("separator", [" ", ",", "\t"])
def test_kinetics_lists_of_paths(tmp_path, separator):
    train = write(tmp_path / "train.csv", f"abseiling/x y.mp4{separator}0", f"/far/z.mp4{separator}12")
    val = write(tmp_path / "kinetics_val_list.txt", f"train_256/b.mp4{separator}0")
    names = write(tmp_path / "names.json", json.dumps({'"abseiling"': 0, "zumba": 12}))
    videos = touch(tmp_path / "v", "abseiling/x y.mp4")
    imported = take("kinetics", train, val, videos=videos, separator=separator, classes=names)
    assert rows(imported) == [
        ("abseiling/x y", "v/abseiling/x y.mp4", "abseiling", "train"),
        ("/far/z", "../" * (len(tmp_path.parts) - 1) + "far/z.mp4", "zumba", "train"),
        ("train_256/b", "v/train_256/b.mp4", "abseiling", "val"),
    ]
    assert len(imported.missing) == 2
    numbers = take("kinetics", train, videos=videos, separator=separator)
    assert [video.labels for video in numbers.videos] == [("0",), ("12",)]
    assert "--classes gives them their names" in spelled(numbers.notes[0], option_name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("abseiling,x,59,train", ":3: expected 6 fields"),
        (
            "abseiling,x,69,59,train,0",
            ":3: expected a label, a youtube_id, and seconds with 0 <= time_start < time_end",
        ),
        ("abseiling,x,1:00,1:10,train,0", "found ['abseiling', 'x', '1:00', '1:10']"),
        ("abseiling,,59,69,train,0", "a youtube_id"),
        (",x,59,69,train,0", "a label"),
        ("abseiling,x,59,69,training,0", "expected a split, one of train, val, validate, validation, test"),
        ("a,a,1,2,train,0\nb,a,1,2,train,0", ":4: the video 'a_000001_000002' is listed already, at "),
        ("absei\0ling,x,59,69,train,0", ":3: expected text, found"),
        ('"abseiling,x,59,69,train,0', "is not CSV: unexpected end of data"),
        ("dancing,x,59,69,train,0", "expected a label of the class list, found 'dancing'"),
    ],
)
def test_malformed_lines_of_kinetics(tmp_path, line, message):
    file = write(tmp_path / "train.csv", KINETICS_HEADER, "abseiling,y,1,2,train,0", *line.splitlines())
    classes = write(tmp_path / "classes.txt", "a", "b", "abseiling") if "dancing" in line else None
    text = refusal("kinetics", file, videos=tmp_path, classes=classes)
    assert text.startswith(f"{file}:")
    assert message in text


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("train.csv", ["a.mp4 x"], ":1: expected 'path label' with a whole number for a label"),
        ("train.csv", ["a.mp4,0"], "--separator says what stands between them"),
        ("train.csv", [], "lists no videos"),
        ("train.csv", [KINETICS_HEADER], "lists no videos"),
        ("train.csv", ["label,youtube_id,start", "a,b,1"], ":1: the columns time_start, time_end are missing"),
        ("list.csv", ["a.mp4 0"], "the name must say the split, by one of the words train, val, test, and says none"),
        ("trainval.csv", ["a.mp4 0"], "and says several"),
        ("train.csv", ["a.mp4 0", "a.mp4 1"], ":2: the video 'a' is listed already, at "),
    ],
)
def test_malformed_lists_of_paths(tmp_path, name, lines, message):
    assert message in refusal("kinetics", write(tmp_path / name, *lines), videos=tmp_path)


@pytest.fixture
def ssv1(tmp_path: Path) -> Path:
    folder, name = tmp_path / "ssv1", "something-something-v1-"
    labels = ("Putting something, something and something on the table", "Holding something")
    write(folder / f"{name}labels.csv", *labels)
    write(folder / f"{name}train.csv", f"100218;{labels[0]}", f"24413;{labels[1]}")
    write(folder / f"{name}validation.csv", f"57;{labels[1]}")
    write(folder / f"{name}test.csv", "7", "8")
    return folder


def test_ssv1_takes_video_files_and_counts_folders_of_frames(tmp_path, ssv1):
    videos = touch(tmp_path / "v", "100218.webm", "24413.mp4", "57/00001.jpg", "57/00002.jpg")
    imported = take("ssv1", ssv1, videos=videos)
    assert rows(imported) == [
        ("100218", "v/100218.webm", "Putting something, something and something on the table", "train"),
        ("24413", "v/24413.mp4", "Holding something", "train"),
        ("57", "v/57.webm", "Holding something", "val"),
    ]
    assert (len(imported.missing), imported.frame_folders) == (1, 1)
    assert "test.csv gives no labels" in imported.notes[0]
    train = ssv1 / "something-something-v1-train.csv"
    for line, message in [
        ("a;Holding something", ":1: expected 'id;label', as '100218;Holding something'"),
        ("12;", "found '12;'"),
        ("12;Dropping something", ":1: expected a label of the class list, found 'Dropping something'"),
    ]:
        assert message in refusal("ssv1", write(train, line, "9;Holding something"), videos=videos)


@pytest.fixture
def ssv2(tmp_path: Path) -> Path:
    folder, name = tmp_path / "labels", "something-something-v2-"
    entry = {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    }
    write(folder / f"{name}labels.json", '{"Holding something next to something":"0", "Closing something":"1"}')
    write(folder / f"{name}train.json", json.dumps([entry], indent=1))
    write(folder / f"{name}validation.json", json.dumps([{**entry, "id": "74225", "template": "Closing [something]"}]))
    write(folder / f"{name}test.json", json.dumps([{"id": "1420"}]))
    return folder


def test_ssv2(tmp_path, ssv2):
    imported = take("ssv2", ssv2, videos=touch(tmp_path / "v", "78687.webm", "74225.webm"))
    assert rows(imported) == [
        ("78687", "v/78687.webm", "Holding something next to something", "train"),
        ("74225", "v/74225.webm", "Closing something", "val"),
    ]
    assert imported.missing == ()
    assert "test.json gives no labels" in imported.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": "1", "template": "Closing [something]"}, {"id": "2"}]', ': entry 2: expected {"id": "78687"'),
        ('[{"id": "1", "template": "Losing [something]"}]', ": entry 1: expected a label of the class list"),
        ('{"id": "1"}', "expected a list of"),
        ("[]", "lists no videos"),
        ('[{"id": "1"},', "train.json:2: is not JSON"),
        ('[{"id": "1", "template": "Closing [something]"}, 7]', ": entry 2: expected"),
    ],
)
def test_malformed_lists_of_ssv2(tmp_path, ssv2, content, message):
    write(ssv2 / "something-something-v2-train.json", content)
    assert message in refusal("ssv2", ssv2, videos=tmp_path)


@pytest.fixture
def charades(tmp_path: Path) -> Path:
    folder = tmp_path / "Charades"
    write(
        folder / "Charades_v1_classes.txt", "c000 Holding some clothes", "c001 Putting clothes somewhere", "c147 Sit/s"
    )
    write(
        folder / "Charades_v1_train.csv",
        CHARADES_HEADER,
        '46GP8,HR43,Kitchen,6,7,Yes,"A person cooks, ""happily"".",food;stove,"Two\nlines.",'
        "c147 11.90 21.20;c000 0.00 12.60;c147 30 31.5,30.46",
        "N11GT,0KZ7,Stairs,6,7,Yes,None.,hands,Nothing.,,18.33",
        end="\r\n",
    )
    write(folder / "Charades_v1_test.csv", CHARADES_HEADER, "YSKX3,Z,Hall,6,7,No,A,b,C,c001 0.00 5.10,12.0")
    write(folder / "Charades_v1_verbclasses.txt", "v000 awaken")
    return folder


def test_charades_is_multi_label_and_videos_without_actions_are_told(tmp_path, charades):
    imported = take("charades", charades, videos=touch(tmp_path / "v", "46GP8.mp4", "YSKX3.mp4"))
    assert rows(imported) == [
        ("46GP8", "v/46GP8.mp4", "Sit/s|Holding some clothes", "train"),
        ("YSKX3", "v/YSKX3.mp4", "Putting clothes somewhere", "test"),
    ]
    assert (imported.missing, imported.unlabelled) == ((), ("N11GT",))
    assert returned(imported, tmp_path / "m.parquet").videos[0].labels == ("Sit/s", "Holding some clothes")
    (charades / "Charades_v1_classes.txt").unlink()
    codes = take("charades", charades, videos=tmp_path / "v")
    assert codes.videos[0].labels == ("c147", "c000")
    assert "--classes" in spelled(codes.notes[0], option_name)


def test_frame_lists_of_charades_are_gathered_by_video(tmp_path, charades):
    lines = [
        *(
            f'46GP8 0 {i} 46GP8/46GP8-{i + 1:06d}.jpg "{labels}"'
            for i, labels in enumerate(["", "147", "147", "0,147"])
        ),
        'N11GT 1 0 N11GT/N11GT-000001.jpg ""',
    ]
    train = write(charades / "train.csv", "original_vido_id video_id frame_id path labels", *lines)
    imported = take("charades", train, videos=touch(tmp_path / "v", "46GP8.mp4"))
    assert rows(imported) == [("46GP8", "v/46GP8.mp4", "Sit/s|Holding some clothes", "train")]
    assert imported.unlabelled == ("N11GT",)
    write(train, "original_vido_id video_id frame_id path labels", "a 0 0 a/1.jpg 3")
    assert ":2: expected a class of the class list, one of 3: c000 … c147, found 'c003'" in refusal(
        "charades", train, videos=tmp_path
    )
    write(train, "original_vido_id video_id frame_id path labels", "a 0 0 a/1.jpg")
    assert ":2: expected 'original_vido_id video_id" in refusal("charades", train, videos=tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A,b,c,6,7,Yes,s,o,d,c001 0.00,12", "expected an id, and actions as 'c092 11.90 21.20;c147 0.00 12.60'"),
        ("A,b,c,6,7,Yes,s,o,d,c999 0.00 1.00,12", "expected a class of the class list"),
        ("A,b,c,6,7,Yes,s,o,d,c001 0.00 1.00", "expected 11 fields"),
        (",b,c,6,7,Yes,s,o,d,c001 0.00 1.00,1", "expected an id"),
    ],
)
def test_malformed_lines_of_charades(tmp_path, charades, line, message):
    file = write(charades / "Charades_v1_test.csv", CHARADES_HEADER, line)
    assert f"{file}:2: {message}" in refusal("charades", charades, videos=tmp_path)
    write(file, "video,actions", "x,y")
    assert "expected the official header" in refusal("charades", charades, videos=tmp_path)


def test_multi_moments_in_time(tmp_path):
    folder = tmp_path / "mmit"
    write(folder / "moments_categories.txt", "clapping,0", "adult+female+singing,12", "crafting,55")
    write(folder / "trainingSet.csv", "clapping/yt-1_2.mp4,0,55", "crafting/a b.mp4,55,55", end="\r\n")
    write(folder / "validationSet.csv", "flickr-1-2-3.mp4,12")
    videos = touch(tmp_path / "v", "training/clapping/yt-1_2.mp4", "crafting/a b.mp4", "validation/flickr-1-2-3.mp4")
    imported = take("mmit", folder, videos=videos)
    assert rows(imported) == [
        ("clapping/yt-1_2", "v/training/clapping/yt-1_2.mp4", "clapping|crafting", "train"),
        ("crafting/a b", "v/crafting/a b.mp4", "crafting", "train"),
        ("flickr-1-2-3", "v/validation/flickr-1-2-3.mp4", "adult+female+singing", "val"),
    ]
    assert imported.missing == ()
    write(folder / "trainingSet.csv", "clapping/yt-1_2.mp4,0", "a.mp4")
    assert "trainingSet.csv:2: expected 'path.mp4,12,55', or X-Temporal's" in refusal("mmit", folder, videos=videos)
    write(folder / "trainingSet.csv", "a.mp4,313")
    assert "expected a class of the class list, one of 3: 0 … 55, found '313'" in refusal("mmit", folder, videos=videos)


def test_lists_of_x_temporal_name_folders_of_frames_or_videos(tmp_path):
    train = write(tmp_path / "mmit_train.txt", "clapping/yt-1_2 90 0,55", "crafting/a.mp4 87 55")
    videos = touch(tmp_path / "v", "clapping/yt-1_2/img_00001.jpg", "crafting/a.mp4")
    imported = take("mmit", train, videos=videos)
    assert [(v.video_id, v.labels) for v in imported.videos] == [
        ("clapping/yt-1_2", ("0", "55")),
        ("crafting/a", ("55",)),
    ]
    assert ([v.video_id for v in imported.missing], imported.frame_folders) == (["clapping/yt-1_2"], 1)
    assert "numbers" in imported.notes[0]
    assert take("mmit", train, videos=touch(videos, "clapping/yt-1_2.webm")).missing == ()


def test_missing_videos_are_left_out_only_on_request(tmp_path, ssv2):
    videos = touch(tmp_path / "v", "78687.webm")
    kept, left = (take("ssv2", ssv2, videos=videos, skip_missing=skip) for skip in (False, True))
    assert [len(one.videos) for one in (kept, left)] == [2, 1]
    assert kept.missing == left.missing
    assert (kept.num_listed, left.num_listed) == (2, 2)
    assert kept.classes_without_videos == left.classes_without_videos == {"val": ("Closing something",)}
    nothing = take("ssv2", ssv2, videos=touch(tmp_path / "empty"), skip_missing=True)
    with pytest.raises(ManifestError, match=r"none of the 2 videos is on disk; the first would be .*empty/78687.webm"):
        nothing.manifest()


def test_each_folder_is_listed_once_however_many_videos_it_holds(tmp_path, monkeypatch):
    lines = [f"{'abc'[i % 3]},id{i},{i},{i + 10},train" for i in range(60)]
    file = write(tmp_path / "train.csv", KINETICS_HEADER.removesuffix(",is_cc"), *lines)
    videos = touch(tmp_path / "k", *(f"{'abc'[i % 3]}/id{i}_{i:06d}_{i + 10:06d}.mp4" for i in range(0, 60, 2)))
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    assert len(take("kinetics", file, videos=videos).missing) == 30
    assert sorted(listed) == ["a", "b", "c", "k"]


def test_a_folder_of_videos_may_be_a_link(tmp_path, ssv2):
    touch(tmp_path / "disk/far/v", "78687.webm", "74225.webm")
    (tmp_path / "v").symlink_to(tmp_path / "disk/far/v")
    imported = take("ssv2", ssv2, videos=tmp_path / "v")
    assert [video.written_path for video in imported.videos] == ["disk/far/v/78687.webm", "disk/far/v/74225.webm"]
    assert all(video.path.exists() for video in returned(imported, tmp_path / "m.csv").videos)


def test_two_files_that_could_be_one_video_are_refused(tmp_path, ssv1):
    touch(tmp_path / "v", "57.mkv", "57.mp4")
    assert "57.mkv and 57.mp4 could both be this video; keep one" in refusal("ssv1", ssv1, videos=tmp_path / "v")
    touch(tmp_path / "v", "57.webm")  # the published name decides
    assert [video.video_id for video in take("ssv1", ssv1, videos=tmp_path / "v").missing] == ["100218", "24413"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("classInd.txt", "1 ApplyEyeMakeup", "2"),
            "classInd.txt:2: expected a class, as '1 ApplyEyeMakeup', found '2'",
        ),
        (("classInd.txt", "1 A", "1 B"), "classInd.txt:2: the class '1' comes twice"),
        (("classInd.txt", "1 A", "2 A"), "classInd.txt:2: the class 'A' comes twice"),
        (("classInd.txt",), "classInd.txt lists no classes"),
        (("trainlist01.txt", "ApplyEyeMakeup/a.avi"), "trainlist01.txt:1: expected 'Class/file.avi index', found"),
        (
            ("trainlist01.txt", "ApplyEyeMakeup/a.avi 37"),
            "expected the index that the class list gives to 'ApplyEyeMakeup'",
        ),
        (
            ("trainlist01.txt", "ApplyEyeMakeup/a.avi 5"),
            "expected a class of the class list, one of 2: 1 … 37, found '5'",
        ),
        (
            ("trainlist01.txt", "Archery/a.avi 1"),
            "trainlist01.txt:1: expected a label of the class list, found 'Archery'",
        ),
        (("testlist01.txt", "a.avi"), "testlist01.txt:1: expected 'Class/file.avi', found 'a.avi'"),
        (("testlist01.txt",), "testlist01.txt lists no videos"),
        (("testlist01.txt", *["ApplyEyeMakeup/a.avi"] * 2), "testlist01.txt:2: the video 'ApplyEyeMakeup/a' is listed"),
    ],
)
def test_malformed_lists_of_ucf101(tmp_path, ucf, change, message):
    name, *lines = change
    write(ucf / name, *lines)
    assert message in refusal("ucf101", ucf, videos=tmp_path)


def test_files_that_cannot_be_read_are_named(tmp_path, ucf):
    write(ucf / "testlist01.txt", *["ApplyEyeMakeup/a.avi"] * 3000, "ApplyEyeMakeup/caf\xe9.avi", encoding="latin-1")
    assert "testlist01.txt:3001: must be UTF-8, found the byte 0xe9" in refusal("ucf101", ucf, videos=tmp_path)
    write(ucf / "testlist01.txt", "ApplyEyeMakeup/\0.avi")
    assert "testlist01.txt:1: expected text, found 'ApplyEyeMakeup/\\x00.avi" in refusal("ucf101", ucf, videos=tmp_path)
    (ucf / "testlist01.txt").unlink()
    text = refusal("ucf101", ucf, videos=tmp_path)
    assert "holds no testlist01.txt; it holds classInd.txt, testlist02.txt" in text
    with pytest.raises(SettingsError, match="the one folder that holds the official files, got"):
        take("ucf101", ucf / "trainlist01.txt", videos=tmp_path)
    with pytest.raises(SettingsError, match="no annotations are given"):
        Source(annotations=())
    with assert_refused(SettingsError, match="--separator"):
        Source(annotations=(ucf,), separator="")


@pytest.mark.parametrize(
    ("form", "lines", "classes"),
    [
        (INDEX_FIRST, ["1 A b", "02 C"], {"1": "A b", "2": "C"}),
        (INDEX_FIRST, ["id,name", "0,abseiling", "1,air drumming"], {"0": "abseiling", "1": "air drumming"}),
        (CODE_FIRST, ["c000 Holding some clothes"], {"c000": "Holding some clothes"}),
        (INDEX_LAST, ["a, b,0", "c,1"], {"0": "a, b", "1": "c"}),
        (NAME_ONLY, ["Holding something", "a,b"], {"0": "Holding something", "1": "a,b"}),
    ],
)
def test_class_lists(tmp_path, form, lines, classes):
    file = write(tmp_path / "classes.txt", "\ufeff" + lines[0], *lines[1:], end="\r\n")
    assert read_class_list(file, form=form) == classes
    if form != CODE_FIRST:
        assert read_any_class_list(file) == classes
    with pytest.raises(ManifestError, match=r":3: expected a class, as 'clapping,0', found 'broken'"):
        read_any_class_list(write(file, "a,0", "b,1", "broken"))


def test_class_lists_in_json(tmp_path):
    file = write(tmp_path / "classes.json", '{"\\"sharpening knives\\"": 290, "zumba": "399"}')
    assert read_any_class_list(file) == {"290": "sharpening knives", "399": "zumba"}
    for content in ('["zumba"]', '{"zumba": true}', '{"zumba": 1.5}', '{"a": 1, "b": 1}', "{}"):
        with pytest.raises(ManifestError, match=r"classes\.json"):
            read_any_class_list(write(file, content))


def test_records_name_the_line_after_quoted_line_ends(tmp_path):
    file = write(tmp_path / "a.csv", 'x,"a', 'b"', "", "y,c")
    assert list(read_records(file)) == [(2, ["x", "a\nb"]), (4, ["y", "c"])]


_label = st.text(string.ascii_letters + " ()'é", min_size=1, max_size=12).map(str.strip).filter(bool)
_youtube_id = st.text(string.ascii_letters + string.digits + "-_", min_size=11, max_size=11)
_clip = st.tuples(_label, _youtube_id, st.integers(0, 9000), st.integers(1, 20), st.sampled_from(["train", "val"]))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    clips=st.lists(_clip, min_size=1, max_size=8, unique_by=lambda clip: clip[1]),
    name=st.sampled_from(["m.csv", "m.parquet"]),
)
def test_what_is_imported_reads_back(tmp_path, clips, name):
    lines = [f'"{label}",{key},{start},{start + length},{split}' for label, key, start, length, split in clips]
    file = write(tmp_path / "all.csv", KINETICS_HEADER.removesuffix(",is_cc"), *lines)
    videos = touch(tmp_path / "videos")
    imported = take("kinetics", file, videos=videos)
    assert returned(imported, tmp_path / name) == Manifest(imported.videos)
    assert [(v.labels, v.split) for v in imported.videos] == [((clip[0],), clip[4]) for clip in clips]
    assert imported.missing == imported.videos


def test_a_label_that_a_manifest_cannot_hold_is_refused_when_it_is_written(tmp_path):
    file = write(tmp_path / "train.csv", KINETICS_HEADER, "a|b,x,1,2,train,0")
    imported = take("kinetics", file, videos=tmp_path)
    assert isinstance(imported.videos[0], Video)
    with pytest.raises(ManifestError, match="would be read back as"):
        write_manifest(imported.manifest(), tmp_path / "m.csv")


def test_a_folder_that_cannot_be_listed_costs_its_own_videos_alone(tmp_path, ucf, monkeypatch):
    names = ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "HandstandPushups/v_HandStandPushups_g01_c01.avi")
    videos = touch(tmp_path / "UCF-101", *names)
    (videos / "round").symlink_to("round")  # of which nobody can say whether it is a folder
    real = os.scandir

    def scandir(path):
        if Path(path).name == "HandstandPushups":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = take("ucf101", ucf, videos=videos, skip_missing=True)
    assert found.unlisted == {"HandstandPushups": "Permission denied"}
    assert [video.path.name for video in found.videos] == ["v_ApplyEyeMakeup_g01_c01.avi"]
    assert "v_HandStandPushups_g01_c01" in {video.video_id.split("/")[-1] for video in found.missing}


def test_each_video_that_is_looked_for_is_progress(tmp_path, ucf):
    videos, heard = touch(tmp_path / "UCF-101"), Heard()
    settings = ImportSettings(source=Source(annotations=(ucf,)), videos=videos)
    found = import_official(DATASETS["ucf101"], settings, base=tmp_path, progress=heard)
    assert heard.calls[0] == f"looking for videos: 0 of {found.num_listed} videos"
    assert (heard.calls[-1], heard.done) == ("end", found.num_listed)
