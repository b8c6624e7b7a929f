"""Not a stage: shorter or plainer words for fields of settings, on the command line and as keywords in Python."""

from collections.abc import Container

# Each means the same in all commands.
WORDS = {
    "num_frames": "frames",
    "sampling_rate": "stride",
    "num_clips": "clips",
    "num_seeds": "seeds",
    "num_classes": "classes",
    "num_events": "events",
    "num_recomputed": "recompute",
    "batch_size": "batch",
    "crop": "size",
    "start": "from",
    "statistics": "batch_norm",
    "backbones": "backbone",
    "aggregators": "aggregator",
    "patterns": "pattern",
    "runs": "run",
    "strengths": "C",
    "name": "strategy",
    "options": "option",
}

# What other programs call a field; not taken, but told where someone types it.
ABBREVIATIONS = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay"}


def field_of(word: str, fields: Container[str]) -> str:
    """Return the one of ``fields`` that ``word`` is another word for; ``word`` itself if it is one, or for none."""
    if word in fields:
        return word
    return next((field for field, short in WORDS.items() if short == word and field in fields), word)
