"""HDR: the transfer functions against the Recommendations' own values, and files in PQ and HLG."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.hdr import (
    AS_IS,
    BT2020_TO_BT709,
    HLG,
    PQ,
    TONE_MAP,
    hlg_to_scene,
    nits_to_pq,
    pq_to_nits,
    rolled_off,
    tone_mapped,
    transfer_of,
)
from vidpipe.pipeline.videos.reader import VideoReader, probe
from vidpipe.pipeline.videos.reading import Reading

GREYS = np.repeat(np.arange(0, 2**16, 16, dtype=np.uint16)[None, :, None], 3, axis=2)  # (1, 4096, 3): 12 bits
CODES = {PQ: 16, HLG: 18, "": 14}  # ITU-T H.273; 14 is BT.2020 with 10 bits
WIDTH, HEIGHT = 96, 64


def write(path: Path, transfers: list[str], *, luma: int = 502, codec: str = "libx264") -> Path:
    """Write a flat frame of BT.2020 in 10 bits for each of ``transfers``."""
    path.unlink(missing_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"preset": "ultrafast", "g": "1", "crf": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        stream.codec_context.color_trc = CODES[transfers[0]]
        stream.codec_context.color_primaries = stream.codec_context.colorspace = 9
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
        for number, transfer in enumerate(transfers):
            for plane, level in zip(frame.planes, (luma, 512, 512), strict=True):
                plane.update(np.full(plane.buffer_size // 2, level, np.uint16).tobytes())
            frame.pts, frame.time_base, frame.color_trc = number, Fraction(1, 10), CODES[transfer]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_pq_has_the_values_of_the_recommendation():
    """BT.2100: 100 cd/m² is 0.508078, and BT.2408: 203 cd/m² is 58 %, 1,000 cd/m² is 75 %."""
    assert pq_to_nits(np.array([0, 0.508078, 1])) == pytest.approx([0, 100, 10_000], rel=1e-4)
    assert nits_to_pq(np.array([203.0, 1000.0])) == pytest.approx([0.5807, 0.7518], abs=1e-4)


def hlg_to_nits(scene: np.ndarray) -> np.ndarray:
    """Return (..., 3) cd/m² on a display of 1,000 cd/m², of linear scene light (..., 3): BT.2100, system gamma 1.2."""
    return scene * (1000 * np.power(scene @ np.array([0.2627, 0.6780, 0.0593]), 0.2))[..., None]


def test_hlg_has_the_values_of_the_recommendation():
    """BT.2100: half the signal is 1/12 of the light; BT.2408: 75 % of it are 203 cd/m² on a display of 1,000."""
    assert hlg_to_scene(np.array([0, 0.5, 1])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    assert hlg_to_nits(hlg_to_scene(np.full((1, 3), 0.75)))[0] == pytest.approx([203] * 3, abs=0.5)
    assert hlg_to_nits(np.ones((1, 3)))[0] == pytest.approx([1000] * 3)


def test_the_roll_off_keeps_what_is_dark_and_brings_the_peak_to_white():
    nits = np.geomspace(0.01, 10_000, 1000)
    rolled = rolled_off(nits)
    assert rolled[nits < 80] == pytest.approx(nits[nits < 80])
    assert rolled[nits >= 1000] == pytest.approx(203)
    assert np.all(np.diff(rolled) >= -1e-9)
    assert np.all(rolled <= nits * (1 + 1e-9))


def test_the_matrix_is_that_of_the_recommendation():
    """BT.2087 gives its inverse, from BT.709 to BT.2020, to four digits."""
    inverse = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    assert np.linalg.inv(BT2020_TO_BT709) == pytest.approx(np.array(inverse), abs=1e-4)
    assert BT2020_TO_BT709.sum(axis=1) == pytest.approx([1, 1, 1], abs=2e-6)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_greys_stay_grey_and_in_order(transfer):
    made = tone_mapped(GREYS, transfer)[0].astype(int)
    assert made.min() == 0
    assert made.max() >= 254
    assert np.all(np.ptp(made, axis=1) <= 1)
    assert np.all(np.diff(made, axis=0) >= 0)


@pytest.mark.parametrize(("transfer", "white"), [(PQ, 0.5807), (HLG, 0.75)])
def test_both_have_the_same_white(transfer, white):
    picture = np.full((1, 1, 3), round(white * 65535), np.uint16)
    # 203 cd/m² is rolled off to 159: (159 / 203) ** (1 / 2.4) of 255
    assert np.abs(tone_mapped(picture, transfer).astype(int) - 230).max() <= 1


def test_tone_mapping_follows_its_own_formulas_for_colours():
    """The tables against the formulas, in double precision, on random colours."""
    picture = np.random.default_rng(0).integers(0, 65536, (50, 40, 3)).astype(np.uint16)
    for transfer in (PQ, HLG):
        signal = picture / 65535
        nits = pq_to_nits(signal) if transfer == PQ else hlg_to_nits(hlg_to_scene(signal))
        most = nits.max(axis=2, keepdims=True)
        linear = (nits * rolled_off(most) / most / 203) @ BT2020_TO_BT709.T.astype(float)
        wanted = 255 * np.clip(linear, 0, 1) ** (1 / 2.4)
        assert np.abs(tone_mapped(picture, transfer) - wanted).max() <= 1.01


def test_what_a_frame_says_counts_before_what_its_file_says():
    assert transfer_of(16) == PQ
    assert transfer_of(2, by_file=18) == HLG
    assert transfer_of(1, by_file=16) == ""


@pytest.mark.parametrize(("transfer", "white"), [(PQ, 0.5807), (HLG, 0.75)])
def test_a_file_is_tone_mapped_or_left_as_it_is(tmp_path, transfer, white):
    luma = round(64 + white * 876)
    path = write(tmp_path / "a.mp4", [transfer] * 2, luma=luma)
    assert probe(path).hdr == transfer
    shown = {}
    for policy in (TONE_MAP, AS_IS):
        with VideoReader(path, reading=Reading(hdr=policy)) as reader:
            shown[policy] = reader.read_frames([0, 1])
        assert shown[policy].shape == (2, HEIGHT, WIDTH, 3)
        assert np.ptp(shown[policy]) <= 1
    assert abs(int(shown[TONE_MAP][0, 0, 0, 0]) - 230) <= 1
    assert abs(int(shown[AS_IS][0, 0, 0, 0]) - round(255 * white)) <= 2


def test_a_picture_is_reduced_first_where_less_suffices(tmp_path):
    with VideoReader(write(tmp_path / "a.mp4", [PQ]), reading=Reading()) as reader:
        assert [shown(32).shape for _, shown in reader.shown([0])] == [(32, 48, 3)]
        assert [shown(1000).shape for _, shown in reader.shown([0])] == [(HEIGHT, WIDTH, 3)]


def test_ordinary_files_are_the_same_under_both_policies(tmp_path):
    path = write(tmp_path / "a.mp4", [""] * 2)
    frames = []
    for policy in (TONE_MAP, AS_IS):
        with VideoReader(path, reading=Reading(hdr=policy)) as reader:
            assert reader.info.hdr == ""
            frames.append(reader.read_frames([0, 1]))
    assert np.array_equal(*frames)


def test_the_policy_stands_in_what_is_recorded_of_clips():
    assert ClipSampling().record()["hdr"] == TONE_MAP
    assert "hdr" not in ClipSampling(reading=Reading(hdr=AS_IS)).record()
    for sampling in (ClipSampling(), ClipSampling(reading=Reading(hdr=AS_IS))):
        assert ClipSampling.of_record(sampling.record()) == sampling


def test_how_large_a_video_may_be_is_no_part_of_it():
    assert "max_pixels" not in ClipSampling(reading=Reading(max_pixels=5)).record()
