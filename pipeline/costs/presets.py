"""The settings and recipes of the FASTER paper, at its scale.

Source: Zhu et al., FASTER Recurrent Networks for Efficient Video Classification (AAAI 2020): Table 1, "Experimental
Setups" and "Better accuracy/FLOPs trade-offs". Its procedure "mostly follows" Tran et al. (CVPR 2018), whose figures
are taken from their repository's script for Kinetics (VMZ, ``scripts/train_r2plus1d_kinetics.sh``).
"""

from dataclasses import replace

from ..errors import SettingsError, named
from ..features.patterns import Pattern
from ..training.settings import OptimisationSettings
from .video_cost import Setting

# One expensive clip of 16 frames in eight: the paper's best inexpensive setting.
FASTER16 = Setting(
    expensive="r2plus1d_50",
    cheap="r2d_26",
    pattern=Pattern.parse("1:7"),
    aggregator="fast-gru",
    num_frames=16,
    num_clips=16,
    crop=224,
)
# Every other clip of 32 frames: its best below 1,000 GMACs. 16 × 16 = 32 × 8 = 256 frames a video.
FASTER32 = replace(FASTER16, pattern=Pattern.parse("1:1"), num_frames=32, num_clips=8)
SETTINGS = {"faster16": FASTER16, "faster32": FASTER32}

# For both networks: consecutive frames of the video.
SAMPLING_RATE = 1

# How a backbone learns Kinetics from scratch.
# VMZ's: SGD with momentum 0.9, 32 clips and a rate of 0.01 a GPU, weight decay 1e-4, no dropout, and 45 epochs of a
# million clips; an epoch here is one clip of each of 240 thousand videos, so 188 epochs are as many clips.
# FASTER's: a cosine in place of steps. Ours: two epochs of warm-up, plain momentum where VMZ has Nesterov's, and one
# process; on several GPUs' worth of clips a step, raise `batch_size` and `learning_rate` together.
KINETICS_BACKBONE = OptimisationSettings(
    epochs=188, batch_size=32, optimizer="sgd", learning_rate=0.01, weight_decay=1e-4, warmup_epochs=2.0
)
# How an aggregator learns on the cached maps. FASTER's: as the backbones, "except we train much fewer epochs". Our
# choice: how many.
KINETICS_AGGREGATOR = replace(KINETICS_BACKBONE, epochs=20, warmup_epochs=1.0)


def find_setting(name: str) -> Setting:
    """Return the setting called ``name``.

    Raises:
        SettingsError: if there is none.
    """
    if name not in SETTINGS:
        raise SettingsError(f"{named('preset')} must be one of {', '.join(SETTINGS)}; got {name!r}")
    return SETTINGS[name]
