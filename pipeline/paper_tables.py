"""The costs that the FASTER paper prints, cell by cell, and what ours come to.

Source: Zhu et al., FASTER Recurrent Networks for Efficient Video Classification (AAAI 2020), Tables 2, 4, 5 and 6, the
columns of GFLOPs. One multiply-accumulate is one FLOP there; the input is 224×224; FAST-GRU takes N-1 steps, as
o_0 = x_0. The classifiers, which ours include, are less than a thousandth of anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import SettingsError
from .patterns import Pattern
from .presets import FASTER32
from .video_cost import Setting, setting_cost

TOLERANCE = 0.005  # share of the paper's figure


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperCell:
    """One figure of a table.

    Attributes:
        row: its heading.
        column: its heading.
        gflops: as printed, 10^9 multiply-accumulates.
        setting: what the figure is of; that of a single clip, where the table gives the cost of a clip.
        remark: why ours differs by more than `TOLERANCE`; empty where it does not.
    """

    row: str
    column: str
    gflops: float
    setting: Setting
    remark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperTable:
    """A table of the paper: what its figures say, and the figures in reading order."""

    number: int
    caption: str
    cells: tuple[PaperCell, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A figure of the paper beside ours.

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
        """How far ours lies above the paper's, as a share of it."""
        return self.ours / self.paper - 1

    @property
    def agrees(self) -> bool:
        """Whether that is within `TOLERANCE`."""
        return abs(self.difference) <= TOLERANCE


def paper_table(number: int) -> PaperTable:
    """Return a table of the paper.

    Raises:
        SettingsError: if it is none that prints costs of ours.
    """
    if number not in TABLES:
        raise SettingsError(f"--paper-table must be one of {', '.join(map(str, TABLES))}; got {number}")
    return TABLES[number]


def compare(table: PaperTable) -> tuple[Comparison, ...]:
    """Return every figure of ``table`` beside ours, counted by running the networks' shapes."""
    return tuple(
        Comparison(
            row=cell.row,
            column=cell.column,
            ours=setting_cost(cell.setting).per_video / 1e9,
            paper=cell.gflops,
            remark=cell.remark,
        )
        for cell in table.cells
    )


def _setting(
    pattern: str, *, num_frames: int, num_clips: int, aggregator: str = "fast-gru", expensive: str = "r2plus1d_50"
) -> Setting:
    return Setting(
        expensive=expensive,
        cheap="r2d_26",
        pattern=Pattern.parse(pattern),
        aggregator=aggregator,
        num_frames=num_frames,
        num_clips=num_clips,
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


TABLES = {
    2: PaperTable(number=2, caption="backbones, GFLOPs a clip", cells=tuple(_table_2())),
    4: PaperTable(number=4, caption="expensive to cheap clips, with FAST-GRU, GFLOPs a video", cells=tuple(_table_4())),
    5: PaperTable(number=5, caption="methods whose time is measured, GFLOPs a video", cells=tuple(_table_5())),
    6: PaperTable(number=6, caption="two expensive backbones, GFLOPs a video", cells=tuple(_table_6())),
}
