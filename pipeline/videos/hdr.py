"""High dynamic range to what networks know: pictures in PQ or HLG become ordinary ones in BT.709.

Source: transfer functions by ITU-R BT.2100-2, table 4 (PQ) and table 5 (HLG, system gamma 1.2 at 1,000 cd/m²); the
roll-off of highlights by ITU-R BT.2390-8, section 5.4.1 (EETF); primaries by ITU-R BT.2087-0; white of ordinary
pictures at HDR's reference white of 203 cd/m², by ITU-R BT.2408-4; output by the inverse of BT.1886's gamma of 2.4.

Differs from the source: the roll-off works on the largest of the three components and scales all three alike, so that
hues stay; and the peak is 1,000 cd/m² whatever a file says of its mastering, so that a picture depends on itself alone.
"""

from functools import cache

import numpy as np

TONE_MAP, AS_IS = "tone-map", "as-is"
HDR_POLICIES = (TONE_MAP, AS_IS)
HDR_HELP = "HDR videos (PQ, HLG): tone-map them to ordinary pictures, or take their values as they are."

PQ, HLG = "PQ", "HLG"
_TRANSFERS = {16: PQ, 18: HLG}  # ITU-T H.273, table 3
_UNSAID = (0, 2, 3)  # reserved and unspecified

PEAK_NITS = 1000.0  # cd/m²
WHITE_NITS = 203.0
_MOST_NITS = 10_000.0

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_DISPLAY_GAMMA = 2.4

# BT.2020's primaries in BT.709's, linear light.
BT2020_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008350], [-0.018151, -0.100579, 1.118730]], np.float32
)

_LEVELS = 2**16
_BAND_PIXELS = 2**18  # worked on at a time, so that a picture's floats stay in the cache


def transfer_of(code: int, *, by_file: int = 2) -> str:
    """Return "PQ", "HLG", or "" for all others.

    Args:
        code: the transfer characteristics that a frame states, by ITU-T H.273.
        by_file: those that its container states, which hold if the frame says nothing.
    """
    return _TRANSFERS.get(by_file if code in _UNSAID else code, "")


def pq_to_nits(values: np.ndarray) -> np.ndarray:
    """Return cd/m² of PQ values in [0, 1], any shape."""
    root = np.power(values, 1 / _M2)
    return _MOST_NITS * np.power(np.maximum(root - _C1, 0) / (_C2 - _C3 * root), 1 / _M1)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """Return PQ values in [0, 1] of cd/m², any shape."""
    power = np.power(np.asarray(nits) / _MOST_NITS, _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def hlg_to_scene(values: np.ndarray) -> np.ndarray:
    """Return linear scene light in [0, 1] of HLG values in [0, 1], any shape."""
    return np.where(values <= 0.5, np.square(values) / 3, (np.exp((values - _C) / _A) + _B) / 12)


def rolled_off(nits: np.ndarray) -> np.ndarray:
    """Return cd/m² up to 203, of cd/m² up to 1,000: the same below a knee, ever less above it. Any shape."""
    peak, white = nits_to_pq(np.array([PEAK_NITS, WHITE_NITS]))
    most = white / peak
    knee = 1.5 * most - 0.5
    given = np.minimum(nits_to_pq(nits) / peak, 1)
    t = np.maximum(given - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return pq_to_nits(np.where(given < knee, given, spline) * peak)


def tone_mapped(picture: np.ndarray, transfer: str) -> np.ndarray:
    """Return an ordinary picture of one in high dynamic range.

    Args:
        picture: (H, W, 3) uint16, full-range RGB in BT.2020's primaries.
        transfer: ``PQ`` or ``HLG``.

    Returns:
        (H, W, 3) uint8 RGB in BT.709's primaries.
    """
    made = np.empty(picture.shape, np.uint8)
    rows = max(1, _BAND_PIXELS // picture.shape[1])
    light = _pq_light if transfer == PQ else _hlg_light
    for top in range(0, len(picture), rows):
        made[top : top + rows] = _encoded(light(picture[top : top + rows]) @ BT2020_TO_BT709.T)
    return made


def _pq_light(band: np.ndarray) -> np.ndarray:
    """Return (h, W, 3) float32 linear light, 1 at white, after the roll-off."""
    linear, share = _pq_tables()
    # PQ grows with its value: the largest component has the largest value.
    return linear[band] * share[band.max(axis=2)][..., None]


def _hlg_light(band: np.ndarray) -> np.ndarray:
    """Return the same of HLG."""
    scene = _hlg_table()[band]
    red, green, blue = (scene[..., channel] for channel in range(3))
    luma = _LUMA_2020[0] * red + _LUMA_2020[1] * green + _LUMA_2020[2] * blue
    gain = np.power(luma, _HLG_GAMMA - 1)  # of the display, over its peak
    brightest = np.maximum(np.maximum(red, green), blue) * gain
    places = np.sqrt(np.minimum(brightest, 1)) * (_LEVELS - 1) + 0.5
    return scene * (gain * _hlg_shares()[places.astype(np.uint16)])[..., None]


@cache
def _pq_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return cd/m² of each of 65,536 values, and by what the roll-off multiplies them, over white; float32."""
    nits = pq_to_nits(np.linspace(0, 1, _LEVELS))
    return nits.astype(np.float32), _share(nits).astype(np.float32)


@cache
def _hlg_table() -> np.ndarray:
    return hlg_to_scene(np.linspace(0, 1, _LEVELS)).astype(np.float32)


@cache
def _hlg_shares() -> np.ndarray:
    """Return cd/m² at HLG's peak, times the roll-off's share, over the square root of light over the peak; float32."""
    nits = PEAK_NITS * np.linspace(0, 1, _LEVELS) ** 2
    return (PEAK_NITS * _share(nits)).astype(np.float32)


def _share(nits: np.ndarray) -> np.ndarray:
    kept = np.maximum(nits, 1e-6)
    return rolled_off(kept) / kept / WHITE_NITS


def _encoded(linear: np.ndarray) -> np.ndarray:
    """Return uint8 of linear light, float32, 1 at white: what lies outside is clipped."""
    # A table over the square root, which spreads the dark values as the gamma does.
    places = np.sqrt(np.clip(linear, 0, 1)) * (_LEVELS - 1) + 0.5
    return _gamma_table()[places.astype(np.uint16)]


@cache
def _gamma_table() -> np.ndarray:
    values = np.power(np.linspace(0, 1, _LEVELS) ** 2, 1 / _DISPLAY_GAMMA)
    return np.round(values * 255).astype(np.uint8)
