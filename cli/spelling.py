"""How the command line spells the library's settings: options have the names of fields, except for these."""

# Shorter or plainer words for people to type. Each means the same in all commands.
SHORT_NAMES = {
    "num_frames": "frames",
    "sampling_rate": "stride",
    "num_clips": "clips",
    "num_seeds": "seeds",
    "num_classes": "classes",
    "num_events": "events",
    "num_recomputed": "recompute",
    "crop": "size",
    "start": "from",
    "statistics": "batch-norm",
    "backbones": "backbone",
    "runs": "run",
    "strengths": "C",
    "name": "strategy",
    "options": "option",
}


# Options that used to have another name, by command: whoever types it is told the new one.
FORMER_NAMES = {("flops", "--crop"): "--size"}


def option_name(field: str) -> str:
    """Return the option that sets the field of that name, such as ``--val-fraction``."""
    return f"--{SHORT_NAMES.get(field, field.replace('_', '-'))}"
