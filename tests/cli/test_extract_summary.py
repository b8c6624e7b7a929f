"""What `vidpipe extract` says at its end."""

from pathlib import Path

import pytest

from vidpipe.cli.extract import _gmacs_text, _summary_text
from vidpipe.cli.tables import counted
from vidpipe.pipeline.features.table_changes import TableChanges
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.reading import Reading
from vidpipe.stages.extract.run import ExtractSummary
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights


@pytest.mark.parametrize("damaged", ["refuse", "keep"])
def test_to_keep_damaged_videos_is_advised_where_they_were_refused(damaged: str) -> None:
    settings = ExtractSettings(
        manifest=Path("m.csv"),
        store=Path("s.zarr"),
        cheap=RoleWeights.parse("w.safetensors"),
        sampling=ClipSampling(reading=Reading(damaged=damaged)),
    )
    summary = ExtractSummary(
        store=settings.store,
        changes=TableChanges(),
        done=0,
        already_done=1,
        failed={"a": "damaged: frames 1 to 3"},
        left_out={},
        num_tasks=0,
        num_clips=0,
        gmacs=0.0,
        seconds=1.0,
        decode_seconds=0.0,
        compute_seconds={},
    )
    said = _summary_text(summary, settings)
    assert said.startswith("nothing to do: 0 videos done, 1 failed before\n")
    assert "failed: a: damaged" in said
    assert ("--damaged keep" in said) == (damaged == "refuse")


@pytest.mark.parametrize(
    ("done", "num_tasks", "said"),
    [
        (1, 0, "nothing to do: the one video is done"),
        (2, 0, "nothing to do: all 2 videos are done"),
        (
            1,
            1,
            "s.zarr: 1 video extracted in 1.0 s (1.00 videos/s), 0 done before, 0 failed\n  1 clip; decoding 0.0 s, ",
        ),
        (2, 2, "s.zarr: 2 videos extracted in 1.0 s (2.00 videos/s), 0 done before, 0 failed\n  2 clips; decoding"),
    ],
)
def test_one_video_is_not_spoken_of_as_several(done: int, num_tasks: int, said: str) -> None:
    settings = ExtractSettings(manifest=Path("m.csv"), store=Path("s.zarr"), cheap=RoleWeights.parse("w.safetensors"))
    summary = ExtractSummary(
        store=settings.store,
        changes=TableChanges(),
        done=num_tasks,
        already_done=done - num_tasks,
        failed={},
        left_out={},
        num_tasks=num_tasks,
        num_clips=num_tasks,
        gmacs=0.0,
        seconds=1.0,
        decode_seconds=0.0,
        compute_seconds={},
    )
    assert _summary_text(summary, settings).startswith(said)


@pytest.mark.parametrize(
    ("number", "noun", "said"), [(1, "class", "1 class"), (2, "class", "2 classes"), (0, "clip", "0 clips")]
)
def test_numbers_take_their_nouns_along(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


@pytest.mark.parametrize(
    ("gmacs", "text"), [(0.0123, "0.012"), (1.28, "1.3"), (9.96, "10"), (12.7, "13"), (1234.5, "1,234")]
)
def test_few_gmacs_keep_two_digits(gmacs: float, text: str) -> None:
    assert _gmacs_text(gmacs) == text
