"""Published costs, cell by cell, and ours beside them.

Sources: Zhu et al., FASTER Recurrent Networks for Efficient Video Classification (AAAI 2020), Tables 2, 4, 5 and 6, the
columns of GFLOPs; the input is 224×224, and FAST-GRU takes N-1 steps, as o_0 = x_0. The model zoos of mmaction2 1.2 and
pytorchvideo 0.1.5, whose figures are for 256×256 although they say 224. All count one multiply-accumulate as one FLOP.
Our figures include the classifiers, which are less than a thousandth of any of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import SettingsError, named
from ..features.patterns import Pattern
from .conventions import CONVENTIONS
from .presets import FASTER32
from .video_cost import Setting, setting_cost

TOLERANCE = 0.005  # share of the printed figure


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperCell:
    """One figure of a table.

    Attributes:
        row: its heading.
        column: its heading.
        gflops: as printed, 10^9 multiply-accumulates.
        setting: what the figure is for; a single clip if the table gives the cost of a clip.
        per_normalised: what each element that passes a batch norm adds to the figure.
        remark: why ours differs by more than `TOLERANCE`; empty if it does not.
    """

    row: str
    column: str
    gflops: float
    setting: Setting
    per_normalised: int = 0
    remark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperTable:
    """A published table.

    Attributes:
        name: its number in the FASTER paper, or a word if it is not there.
        caption: what its figures say.
        cells: its figures in reading order.
        printed_by: who published it, in a word.
        decimals: of its figures.
    """

    name: str
    caption: str
    cells: tuple[PaperCell, ...]
    printed_by: str = "paper"
    decimals: int = 1

    @property
    def title(self) -> str:
        """Where it was published."""
        return f"FASTER, Table {self.name}" if self.name.isdecimal() else self.name.capitalize()


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A published figure beside ours.

    Attributes:
        row, column, remark: of the cell.
        ours: 10^9 multiply-accumulates.
        paper: likewise.
    """

    row: str
    column: str
    ours: float
    paper: float
    remark: str

    @property
    def difference(self) -> float:
        """How far ours is above the paper's, as a share of it."""
        return self.ours / self.paper - 1

    @property
    def agrees(self) -> bool:
        """Whether that is within `TOLERANCE`."""
        return abs(self.difference) <= TOLERANCE


def paper_table(name: str) -> PaperTable:
    """Return the published table called ``name``.

    Raises:
        SettingsError: if there is none; the message lists them.
    """
    if name not in TABLES:
        raise SettingsError(f"{named('paper_table')} must be one of {', '.join(TABLES)}; got {name}")
    return TABLES[name]


def compare(table: PaperTable) -> tuple[Comparison, ...]:
    """Return every figure of ``table`` beside ours, counted by running the networks' shapes."""
    return tuple(
        Comparison(
            row=cell.row,
            column=cell.column,
            ours=_cost(cell) / 1e9,
            paper=cell.gflops,
            remark=cell.remark,
        )
        for cell in table.cells
    )


def _cost(cell: PaperCell) -> float:
    """Return the operations of a cell's setting, counted as the cell's source does."""
    macs = setting_cost(cell.setting).per_video
    if cell.per_normalised == 0:
        return macs
    with_norms = setting_cost(cell.setting, convention="mac+bn").per_video
    return macs + (with_norms - macs) * cell.per_normalised / CONVENTIONS["mac+bn"].per_normalised


def _setting(
    pattern: str,
    *,
    num_frames: int,
    num_clips: int,
    aggregator: str = "fast-gru",
    expensive: str = "r2plus1d_50",
    crop: int = 224,
) -> Setting:
    return Setting(
        expensive=expensive,
        cheap="r2d_26",
        pattern=Pattern.parse(pattern),
        aggregator=aggregator,
        num_frames=num_frames,
        num_clips=num_clips,
        crop=crop,
    )


def _table_2() -> Iterator[PaperCell]:
    printed = {
        "R2D-26": ("all-cheap", (3.2, 6.0, 12.7)),
        "R(2+1)D-50": ("all-expensive", (30.0, 60.0, 119.9)),
    }
    remarks = {
        ("R2D-26", 8): "3.17, printed with one decimal",
        ("R2D-26", 16): "unexplained: twice the frames cost twice the 3.2 of the row above, about 6.3",
    }
    for row, (pattern, figures) in printed.items():
        for num_frames, gflops in zip((8, 16, 32), figures, strict=True):
            yield PaperCell(
                row=row,
                column=f"{num_frames} frames",
                gflops=gflops,
                setting=_setting(pattern, num_frames=num_frames, num_clips=1, aggregator="average"),
                remark=remarks.get((row, num_frames), ""),
            )


def _table_4() -> Iterator[PaperCell]:
    columns = ((8, 32), (16, 16), (32, 8))
    printed = {
        "all-expensive": (982.4, 980.2, 979.2),
        "1:1": (553.6, 552.0, 550.4),
        "1:3": (339.2, 337.6, 336.0),
        "1:7": (230.4, 230.4, 228.8),
        "1:15": (176.0, 176.0),
        "1:31": (150.4,),
    }
    remark = "the paper rounds the cost of a clip, 5.54 to 5.5, before it multiplies by 32"
    for pattern, figures in printed.items():
        for (num_frames, num_clips), gflops in zip(columns, figures, strict=False):  # the last rows have empty cells
            yield PaperCell(
                row="All E" if pattern == "all-expensive" else pattern,
                column=f"{num_frames} frames × {num_clips} clips",
                gflops=gflops,
                setting=_setting(pattern, num_frames=num_frames, num_clips=num_clips),
                remark=remark if (pattern, num_frames) == ("1:15", 8) else "",
            )


def _table_5() -> Iterator[PaperCell]:
    averaged = {"All C (Avg pool)": ("all-cheap", 101.3), "All E (Avg pool)": ("all-expensive", 959.3)}
    column = "32 frames × 8 clips"
    for row, (pattern, gflops) in averaged.items():
        setting = _setting(pattern, num_frames=32, num_clips=8, aggregator="average")
        yield PaperCell(row=row, column=column, gflops=gflops, setting=setting)
    yield PaperCell(row="FASTER32", column=column, gflops=550.4, setting=FASTER32)


def _table_6() -> Iterator[PaperCell]:
    columns = {"R(2+1)D-50": "r2plus1d_50", "R3D-50": "r3d_50"}
    printed = {
        "All E (Avg. pool)": ("all-expensive", "average", (959.3, 942.7)),
        "1:1 (FAST-GRU)": ("1:1", "fast-gru", (550.4, 542.1)),
        "1:3 (FAST-GRU)": ("1:3", "fast-gru", (336.0, 331.9)),
    }
    for row, (pattern, aggregator, figures) in printed.items():
        for (column, expensive), gflops in zip(columns.items(), figures, strict=True):
            setting = _setting(pattern, num_frames=32, num_clips=8, aggregator=aggregator, expensive=expensive)
            yield PaperCell(row=row, column=column, gflops=gflops, setting=setting)


# Column -> crop, and what an element through a batch norm adds. The first two: fvcore's counts of the zoos' networks.
_PEER_COLUMNS = {
    "counted at 224×224": (224, 0),
    "counted at 256×256": (256, 0),
    "mmaction2, batch norm at 2": (256, 2),
    "pytorchvideo": (256, 0),
    "pytorchvideo, batch norm at 5": (256, 5),
}


def _peers() -> Iterator[PaperCell]:
    printed = {
        "Slow-only-50 4×16": ("slow_only_50", 4, (20.87, 27.26, 27.38, None, 27.55)),
        "Slow-only-50 8×8": ("slow_only_50", 8, (41.74, 54.52, 54.75, 54.52, None)),
        "I3D-50 32×2": ("i3d_50", 32, (33.13, 43.27, 43.5, None, None)),
        "I3D-50+NL 32×2": ("i3d_50_nl", 32, (44.34, 59.11, 59.3, None, None)),
        "R(2+1)D-50 16×2": ("r2plus1d_50_ptv", 16, (57.53, 75.15, None, None, 76.45)),
        "SlowFast-50 4×16": ("slowfast_50_4x16", 32, (27.64, 36.10, 36.3, None, 36.69)),
        "SlowFast-50 8×8": ("slowfast_50_8x8", 32, (50.31, 65.71, 66.1, 65.71, None)),
        "SlowFast-101 8×8": ("slowfast_101_8x8", 32, (None, None, None, None, 127.20)),
    }
    for row, (backbone, num_frames, figures) in printed.items():
        for (column, (crop, per_normalised)), gflops in zip(_PEER_COLUMNS.items(), figures, strict=True):
            if gflops is not None:
                setting = _setting(
                    "all-expensive",
                    expensive=backbone,
                    num_frames=num_frames,
                    num_clips=1,
                    aggregator="average",
                    crop=crop,
                )
                yield PaperCell(row=row, column=column, gflops=gflops, setting=setting, per_normalised=per_normalised)


TABLES: dict[str, PaperTable] = {
    table.name: table
    for table in (
        PaperTable(name="2", caption="backbones, GFLOPs a clip", cells=tuple(_table_2())),
        PaperTable(
            name="4", caption="expensive to cheap clips, with FAST-GRU, GFLOPs a video", cells=tuple(_table_4())
        ),
        PaperTable(name="5", caption="methods whose time is measured, GFLOPs a video", cells=tuple(_table_5())),
        PaperTable(name="6", caption="two expensive backbones, GFLOPs a video", cells=tuple(_table_6())),
        PaperTable(
            name="peers",
            caption="backbones of collaborative memory's table in model zoos, GFLOPs a clip",
            cells=tuple(_peers()),
            printed_by="peer",
            decimals=2,
        ),
    )
}
