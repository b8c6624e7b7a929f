"""The rendered set: what can be known of it by construction, that nothing else gives the class away, and its files."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import assert_refused

from vidpipe.cli.main import main
from vidpipe.pipeline.errors import RunError, SettingsError
from vidpipe.pipeline.manifests.manifest import read_manifest
from vidpipe.pipeline.rendering.design import (
    EVENTS,
    accuracy_bounds,
    best_accuracy,
    class_of,
    draw_timetable,
    is_test,
    scene_classes,
    shortest_video,
)
from vidpipe.pipeline.rendering.frames import draw_frames
from vidpipe.pipeline.rendering.plan import Look, draw_look, plan_video
from vidpipe.pipeline.rendering.settings import SceneSettings
from vidpipe.pipeline.videos.reader import probe, read_all
from vidpipe.pipeline.videos.writing import Encoding, write_h264
from vidpipe.stages.render.plan import video_path
from vidpipe.stages.render.run import run
from vidpipe.stages.render.settings import RenderSettings

SMALL = SceneSettings(size=32, frames=47)


def looks(settings: SceneSettings, count: int) -> list[Look]:
    return [draw_look(settings, index=index) for index in range(count)]


def numbers(value: object) -> list[float]:
    """Return every number in a nest of dataclasses and tuples."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [number for field in dataclasses.fields(value) for number in numbers(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [number for item in value for number in numbers(item)]
    return [] if isinstance(value, str) else [float(value)]


def held_out_accuracy(features: np.ndarray, labels: np.ndarray, *, num_classes: int) -> float:
    """Return the accuracy of ridge regression onto one-hot classes, trained on one half, scored on the other."""
    spread = features.std(axis=0)
    z = (features - features.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    z = np.concatenate([z, np.ones((len(z), 1))], axis=1)
    half = len(z) // 2
    gram = z[:half].T @ z[:half] + 0.1 * half * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z[:half].T @ np.eye(num_classes)[labels[:half]])
    return float(((z[half:] @ weights).argmax(axis=1) == labels[half:]).mean())


# What can be known


@pytest.mark.parametrize("num_events", range(2, len(EVENTS) + 1))
def test_bounds_agree_with_their_formulas(num_events: int):
    e, bounds = num_events, accuracy_bounds(num_events)
    assert bounds == pytest.approx(
        {
            "chance": 1 / (2 * e * (e - 1)),
            "one_clip": 1 / (2 * (e - 1)),
            "one_clip_without_fine_motion": 1 / (4 * (e - 1)),
            "one_clip_between_the_acts": 1 / (e * (e - 1)),
            "all_clips_without_order": 1 / 2,
            "all_clips_without_order_or_fine_motion": 1 / 4,
            "all_clips_in_order_without_fine_motion": 1 / 2,
            "all_clips_in_order": 1,
        }
    )


def test_best_accuracy_of_nothing_something_and_everything():
    classes = "abcd"
    assert best_accuracy((c, None) for c in classes) == 0.25
    assert best_accuracy((c, c in "ab") for c in classes) == 0.5
    assert best_accuracy((c, c) for c in classes) == 1.0
    assert best_accuracy([("a", 0), ("a", 0), ("b", 0), ("b", 1)]) == 0.75


def test_every_label_is_there_once():
    labels = [scene_class.label for scene_class in scene_classes(3)]
    assert len(set(labels)) == len(labels) == 12
    assert "bars-rings-rising" in labels
    assert not any(label.split("-")[0] == label.split("-")[1] for label in labels)


@given(clip_frames=st.integers(1, 20), extra=st.integers(0, 60), seed=st.integers(0, 2**32))
def test_no_clip_sees_both_acts_and_either_act_can_be_seen_in_every_way(clip_frames: int, extra: int, seed: int):
    frames = shortest_video(clip_frames) + extra
    table = draw_timetable(frames, clip_frames=clip_frames, rng=np.random.default_rng(seed))
    acts = list(zip(table.starts, table.ends, strict=True))
    first_start = table.starts[0]
    assert table.starts[1] - table.ends[0] > clip_frames
    assert first_start >= clip_frames - 1 and frames - table.ends[1] >= clip_frames - 1
    for start in range(frames - clip_frames + 1):
        assert sum(start < end and start + clip_frames > begin for begin, end in acts) <= 1
    for begin, end in acts:
        assert end - begin >= clip_frames * 3 // 2
        assert begin - clip_frames + 1 >= 0 and end - 1 + clip_frames <= frames


def test_what_a_clip_sees_of_an_act_does_not_tell_which_act_it_is():
    """Where, relative to its act, a random clip lies is spread alike for both acts (chi-squared on 4,000 videos)."""
    rng = np.random.default_rng(0)
    seen = np.zeros((2, 40))
    for _ in range(4000):
        table = draw_timetable(64, clip_frames=8, rng=rng)
        start = rng.integers(0, 57)
        for act in (0, 1):
            if table.starts[act] - 7 <= start < table.ends[act]:
                seen[act, start - table.starts[act] + 7] += 1
    used = seen.sum(axis=0) > 20
    expected = seen[:, used].sum(axis=0) / 2
    chi_squared = ((seen[:, used] - expected) ** 2 / expected).sum()
    assert chi_squared < used.sum() + 4 * np.sqrt(2 * used.sum())


def test_too_short_a_video_is_refused():
    with pytest.raises(SettingsError, match="at least 47"):
        SceneSettings(frames=46)


# Classes and splits


@given(seed=st.integers(0, 2**32), num_events=st.integers(2, 5), block=st.integers(0, 50))
def test_each_run_of_videos_has_every_class_once(seed: int, num_events: int, block: int):
    k = len(scene_classes(num_events))
    run_of_videos = range(block * k, (block + 1) * k)
    assert {class_of(index, seed=seed, num_classes=k) for index in run_of_videos} == set(range(k))


@given(fraction=st.floats(0, 1), blocks=st.integers(1, 40))
def test_the_split_is_stratified_and_as_large_as_asked(fraction: float, blocks: int):
    tests = [is_test(index, num_classes=12, test_fraction=fraction) for index in range(12 * blocks)]
    assert sum(tests) == 12 * int(blocks * fraction + 1e-9)
    for block in range(blocks):
        assert len(set(tests[12 * block : 12 * (block + 1)])) == 1


# Nothing else gives the class away


def test_a_look_is_drawn_without_its_class():
    """The same looks are dealt whatever the classes are; only the class differs between sets of 2 and 3 events."""
    two, three = SceneSettings(num_events=2), SceneSettings(num_events=3)
    assert looks(two, 20) == looks(three, 20)
    assert [plan_video(two, index=i).scene_class for i in range(20)] != [
        plan_video(three, index=i).scene_class for i in range(20)
    ]


def test_a_classifier_of_looks_is_at_chance():
    count = 2400
    features = np.array([numbers(look) for look in looks(SceneSettings(), count)])
    labels = np.array([class_of(index, seed=0, num_classes=12) for index in range(count)])
    spread = np.sqrt(11 / 144 / (count // 2))
    assert features.shape[1] > 50
    assert held_out_accuracy(features, labels, num_classes=12) < 1 / 12 + 4 * spread
    assert held_out_accuracy(np.eye(12)[labels], labels, num_classes=12) == 1.0  # the test can see what there is


def test_a_classifier_of_mean_colours_over_time_is_at_chance():
    count = 240
    settings = dataclasses.replace(SMALL, num_events=2)
    plans = [plan_video(settings, index=index) for index in range(count)]
    features = np.array([[plane.mean() for plane in draw_frames(plan)] for plan in plans])
    labels = np.array([class_of(index, seed=0, num_classes=4) for index in range(count)])
    assert held_out_accuracy(features, labels, num_classes=4) < 1 / 4 + 4 * np.sqrt(3 / 16 / (count // 2))


# Pictures


def still_plan(*, fine: str, **changes: object):
    """Return a plan without noise, texture, shake, clutter and drift, and with whole-pixel bars."""
    classes = [c for c in scene_classes(3) if c.fine == fine]
    plan = plan_video(SceneSettings(size=64, difficulty=0.0), index=0)
    look = dataclasses.replace(
        plan.look,
        noise=0.0,
        texture=0.0,
        shake=0.0,
        clutter=0,
        drift=(0.0, 0.0),
        body=120.0,
        bar_contrast=60.0,
        **changes,
    )
    return dataclasses.replace(plan, scene_class=classes[0], look=look)


@pytest.mark.parametrize(("fine", "way"), [("rising", -1), ("falling", 1)])
def test_bars_go_the_way_the_class_says_and_their_signs_hide_it(fine: str, way: int):
    """The match of |luma - body| in neighbouring frames peaks one step along; that of luma itself has no direction."""
    plan = still_plan(fine=fine)
    look, rest = plan.look, plan.look.timetable.starts[0]
    step = round(look.bar_step)
    signed, unsigned = [], []
    for seed in range(40):
        luma = draw_frames(dataclasses.replace(plan, seed=seed))[0][:rest].astype(float) - look.body
        middle = luma[:, 16:48, look.width // 2]
        for match, values in ((signed, middle), (unsigned, np.abs(middle))):
            a, b = values[:-1], values[1:]
            along = (a[:, 8:24] * np.roll(b, -way * step, axis=1)[:, 8:24]).mean()
            against = (a[:, 8:24] * np.roll(b, way * step, axis=1)[:, 8:24]).mean()
            match.append(along - against)
    assert np.mean(unsigned) > 8 * np.std(unsigned) / np.sqrt(len(unsigned))
    assert abs(np.mean(signed)) < 4 * np.std(signed) / np.sqrt(len(signed))


def test_visitors_are_seen_in_their_acts_and_only_then():
    """Videos that differ in their visitors' patterns alone differ within the acts, and nowhere else."""
    classes = scene_classes(3)
    one, other = (c for c in classes if c.fine == "rising" and c.label[:10] in ("bars-posts", "posts-ring"))
    plan = still_plan(fine="rising")
    a, b = (draw_frames(dataclasses.replace(plan, scene_class=c))[0].astype(float) for c in (one, other))
    differs = np.abs(a - b).max(axis=(1, 2)) > 20
    table = plan.look.timetable
    acts = [(frame >= s) and (frame < e) for frame in range(64) for s, e in [(table.starts[0], table.ends[0])]]
    acts = np.array(acts) | np.array([table.starts[1] <= frame < table.ends[1] for frame in range(64)])
    assert not differs[~acts].any()
    inside = [frame for s, e in zip(table.starts, table.ends, strict=True) for frame in range(s + 2, e - 2)]
    assert differs[inside].all()


def test_difficulty_moves_what_it_says():
    easy, hard = (looks(SceneSettings(difficulty=d), 60) for d in (0.0, 1.0))

    def rises(name: str) -> bool:
        return bool(np.mean([getattr(x, name) for x in easy]) < np.mean([getattr(x, name) for x in hard]))

    assert all(rises(name) for name in ("noise", "shake", "clutter", "texture"))
    assert not any(rises(name) for name in ("bar_contrast", "radii"))


def test_a_larger_host_is_all_that_changes():
    usual, large = (draw_look(SceneSettings(host=host), index=3) for host in (1.0, 1.5))
    assert large.radii == pytest.approx([1.5 * radius for radius in usual.radii])
    assert dataclasses.replace(large, radii=usual.radii) == usual


@pytest.mark.parametrize("life", [2, 4, 5])
def test_bars_leap_once_a_life(life: int):
    """Within a life, bars lie one step further from frame to frame; from one life to the next, anywhere."""
    plan = still_plan(fine="falling", bar_life=life)
    rest = plan.look.timetable.starts[0]
    luma = draw_frames(plan)[0][:rest].astype(float) - plan.look.body
    middle = np.abs(luma[:, 16:48, plan.look.width // 2])
    step = round(plan.look.bar_step)
    goes_on = [np.abs(now[step:] - before[:-step]).mean() < 2 for before, now in itertools.pairwise(middle)]
    leaps = np.flatnonzero(~np.array(goes_on))
    assert len(leaps) >= rest // life - 2  # a leap may lead to about where they would have been anyway
    assert len(set(leaps % life)) == 1


# Files


def test_a_file_holds_the_frames_and_the_settings_it_was_given(tmp_path):
    plan = plan_video(SMALL, index=1)
    planes = draw_frames(plan)
    path = tmp_path / "a.mp4"
    write_h264(path, planes=planes, encoding=Encoding(fps=25, crf=1, keyframe_interval=9, b_frames=2))
    info = probe(path)
    assert (info.codec, info.height, info.num_frames, info.average_fps) == ("h264", 32, 47, 25)
    assert info.width == plan.look.width
    frames = read_all(path).astype(float)
    luma = 16 + (65.481 * frames[..., 0] + 128.553 * frames[..., 1] + 24.966 * frames[..., 2]) / 255
    assert np.abs(luma - planes[0]).mean() < 2.0
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def small_set(tmp_path_factory) -> RenderSettings:
    settings = RenderSettings(out=tmp_path_factory.mktemp("rendered") / "set", videos=48, scene=SMALL, workers=2)
    run(settings)
    return settings


def test_a_set_is_stratified_and_described(small_set: RenderSettings):
    manifest = read_manifest(small_set.out / "manifest.csv")
    assert [len(manifest.subset(split)) for split in ("train", "test")] == [36, 12]
    assert manifest.subset("test").classes == manifest.classes == tuple(sorted(c.label for c in scene_classes(3)))
    design = json.loads((small_set.out / "design.json").read_text())
    assert design["best_accuracy_by_construction"] == accuracy_bounds(3)
    assert "25.0%" in (small_set.out / "README.md").read_text()
    rates = {(info.width, info.average_fps) for info in (probe(v.path) for v in manifest.videos)}
    assert len(rates) > 4


def test_a_larger_set_begins_with_the_same_bytes_whatever_the_workers(small_set: RenderSettings, tmp_path):
    again = dataclasses.replace(small_set, out=tmp_path / "again", videos=60, workers=1)
    assert run(again).rendered == 60
    for index in range(0, 48, 5):
        same = [video_path(settings, index).read_bytes() for settings in (small_set, again)]
        assert same[0] == same[1]
    first = [(v.video_id, v.labels, v.split) for v in read_manifest(again.out / "manifest.csv").videos[:48]]
    assert first == [(v.video_id, v.labels, v.split) for v in read_manifest(small_set.out / "manifest.csv").videos]


def test_an_interrupted_set_is_completed_and_a_complete_one_left_alone(small_set: RenderSettings):
    files = [video_path(small_set, index) for index in (3, 17)]
    contents = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    (files[0].parent / "000003.mp4.partial").write_bytes(b"cut short")
    assert run(small_set).rendered == 2
    assert [file.read_bytes() for file in files] == contents
    assert not list(files[0].parent.glob("*.partial"))
    assert run(small_set).rendered == 0


def test_a_set_from_before_hosts_had_a_size_is_taken_for_one_of_the_usual_size(small_set: RenderSettings, tmp_path):
    settings = dataclasses.replace(small_set, out=tmp_path / "old", videos=1)
    run(settings)
    design = json.loads((settings.out / "design.json").read_text())
    del design["set"]["host"], design["set"]["bar_life"]
    (settings.out / "design.json").write_text(json.dumps(design))
    with pytest.raises(RunError, match=r"host is 1\.0 there, 1\.2 here"):
        run(dataclasses.replace(settings, scene=dataclasses.replace(SMALL, host=1.2)))
    assert run(settings).rendered == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scene": dataclasses.replace(SMALL, seed=1)}, "seed"),
        ({"scene": dataclasses.replace(SMALL, difficulty=0.7)}, "difficulty"),
        ({"test_fraction": 0.5}, "test_fraction"),
        ({"videos": 24}, "holds 48 videos"),
    ],
)
def test_another_set_in_the_folder_is_refused(small_set: RenderSettings, change: dict, message: str):
    before = {path: path.stat().st_mtime_ns for path in small_set.out.rglob("*")}
    with assert_refused(RunError, match=message):
        run(dataclasses.replace(small_set, **change))
    assert {path: path.stat().st_mtime_ns for path in small_set.out.rglob("*")} == before


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="thesis.txt"):
        run(RenderSettings(out=tmp_path, videos=1, scene=SMALL))


@pytest.mark.parametrize(
    "bad",
    [
        {"size": 33},
        {"size": 16},
        {"seed": -1},
        {"num_events": 1},
        {"num_events": 6},
        {"difficulty": 1.5},
        {"clip_frames": 0},
        {"host": 0.4},
        {"host": 1.7},
        {"bar_life": 1},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict):
    with pytest.raises(SettingsError, match="got"):
        SceneSettings(**bad)


@settings(max_examples=10, deadline=None)
@given(size=st.integers(16, 60).map(lambda n: 2 * n), events=st.integers(2, 5), difficulty=st.floats(0, 1))
def test_every_setting_in_range_draws_whole_frames(size: int, events: int, difficulty: float):
    scene = SceneSettings(size=size, num_events=events, difficulty=difficulty, frames=47)
    for index in range(3):
        y, u, v = draw_frames(plan_video(scene, index=index))
        assert y.dtype == u.dtype == v.dtype == np.uint8
        assert y.shape[:2] == (47, size) and u.shape == v.shape == (47, size // 2, y.shape[2] // 2)
        assert y.min() >= 16 and y.max() <= 235


def test_the_command_prints_one_json_document(tmp_path):
    arguments = ["render", str(tmp_path / "set"), *("--videos", "2", "--size", "32", "--frames", "47"), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["videos"] == summary["rendered"] == 2
    assert summary["bounds"]["one_clip"] == 0.25


@pytest.mark.parametrize(("difficulty", "code"), [("easy", 0), ("0.3", 0), ("2", 2), ("nasty", 2)])
def test_the_command_takes_a_difficulty_by_name_or_number(tmp_path, difficulty: str, code: int):
    arguments = ["render", str(tmp_path / "set"), *("--videos", "1", "--size", "32", "--frames", "47")]
    done = CliRunner().invoke(main, [*arguments, "--difficulty", difficulty])
    assert done.exit_code == code, done.output
