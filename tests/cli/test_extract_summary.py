"""What `vidpipe extract` says at its end."""

from pathlib import Path

import pytest

from vidpipe.cli.extract import _summary_text
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
        num_clips=0,
        gmacs=0.0,
        seconds=1.0,
        decode_seconds=0.0,
        compute_seconds={},
    )
    said = _summary_text(summary, settings)
    assert "failed: a: damaged" in said
    assert ("--damaged keep" in said) == (damaged == "refuse")
