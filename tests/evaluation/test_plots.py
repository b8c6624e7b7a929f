"""Pictures: nothing covers or leaves anything else, and scales suit what is shown."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from vidpipe.pipeline.errors import OutOfSpaceError
from vidpipe.pipeline.evaluation import confusion_plot, figures, plots
from vidpipe.pipeline.evaluation.confusion_plot import save_confusion_matrix
from vidpipe.pipeline.evaluation.plots import CostPoint, Line, save_accuracy_against_cost, save_curves


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list that fills with every figure that is written."""
    drawn: list[Figure] = []

    def save(figure: Figure, path: Path) -> None:
        figures.save_figure(figure, path)
        drawn.append(figure)

    for module in (plots, confusion_plot):
        monkeypatch.setattr(module, "save_figure", save)
    return drawn


def axes_of(figure: Figure) -> Axes:
    return figure.axes[0]


def extents(figure: Figure, *texts: list[Text]) -> list[list[Bbox]]:
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [[text.get_window_extent(renderer) for text in group if text.get_text()] for group in texts]


def assert_apart(boxes: list[Bbox]) -> None:
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])


def points(*, num: int = 6, gmacs: tuple[float, float] = (3.0, 30.0)) -> list[CostPoint]:
    costs = np.geomspace(*gmacs, num)
    return [
        CostPoint(
            label=f"fast-gru 1:{2**i}",
            gmacs=float(cost),
            accuracy=0.6 + 0.01 * i,
            interval=(0.58 + 0.01 * i, 0.62 + 0.01 * i) if i % 2 else None,
            family="fast-gru",
        )
        for i, cost in enumerate(costs)
    ]


def test_labels_cover_neither_each_other_nor_points_and_stay_inside(tmp_path: Path, drawn: list[Figure]) -> None:
    crowded = [*points(), CostPoint(label="average all-expensive", gmacs=30.5, accuracy=0.652, family="average")]
    save_accuracy_against_cost(crowded, tmp_path / "cost.png")
    axes = axes_of(drawn[0])
    (labels,) = extents(drawn[0], list(axes.texts))
    assert len(labels) == len(crowded)
    assert_apart(labels)
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 + 1 for box in labels)
    at = axes.transData.transform([(point.gmacs, 100 * point.accuracy) for point in crowded])
    assert not any(box.contains(x, y) for box in labels for x, y in at)


@pytest.mark.parametrize(("gmacs", "scale"), [((3.0, 30.0), "log"), ((3.0, 9.0), "linear")])
def test_a_large_span_of_costs_gets_a_logarithmic_axis(
    tmp_path: Path, drawn: list[Figure], gmacs: tuple[float, float], scale: str
) -> None:
    save_accuracy_against_cost(points(gmacs=gmacs), tmp_path / "cost.png")
    assert axes_of(drawn[0]).get_xscale() == scale


@pytest.mark.parametrize("num_classes", [2, 12, 50])
def test_confusion_matrices_up_to_50_classes_have_numbers_that_fit(
    tmp_path: Path, drawn: list[Figure], num_classes: int
) -> None:
    matrix = np.zeros((num_classes, num_classes), np.int64)
    matrix[:2] = 888
    names = [f"a rather long name of class {i}" for i in range(num_classes)]
    save_confusion_matrix(matrix, tmp_path / "confusion.png", classes=names, title="a title")
    axes = axes_of(drawn[0])
    assert len(axes.texts) == 2 * num_classes
    for boxes in extents(drawn[0], list(axes.texts), axes.get_yticklabels(), axes.get_xticklabels()):
        assert_apart(boxes)


@pytest.mark.parametrize(("num_classes", "named"), [(51, True), (150, False)])
def test_larger_confusion_matrices_have_no_numbers(
    tmp_path: Path, drawn: list[Figure], num_classes: int, named: bool
) -> None:
    names = [f"class {i}" for i in range(num_classes)]
    save_confusion_matrix(np.eye(num_classes, dtype=np.int64), tmp_path / "confusion.png", classes=names)
    axes = axes_of(drawn[0])
    assert len(axes.texts) == 0
    assert (axes.get_yticklabels()[0].get_text() == "class 0") is named


def test_rows_of_a_confusion_matrix_are_coloured_by_share(tmp_path: Path, drawn: list[Figure]) -> None:
    matrix = np.array([[3, 1], [0, 0]])
    save_confusion_matrix(matrix, tmp_path / "confusion.png", classes=["a", "b"])
    (image,) = axes_of(drawn[0]).images
    np.testing.assert_allclose(np.asarray(image.get_array()), [[0.75, 0.25], [0, 0]])
    assert [text.get_text() for text in axes_of(drawn[0]).texts] == ["3", "1"]


def test_curves_show_training_and_validation(tmp_path: Path, drawn: list[Figure]) -> None:
    records = [{"epoch": i, "loss": 1.0 / (i + 1), "accuracy": 0.1 * i, "val_loss": 1.0} for i in range(4)]
    save_curves(records, tmp_path / "curves.png", title="r2d_26")
    loss, accuracy = drawn[0].axes
    np.testing.assert_allclose(np.asarray(loss.lines[0].get_xdata()), [1, 2, 3, 4])
    assert (len(loss.lines), len(accuracy.lines)) == (2, 1)


def test_pictures_are_the_same_bytes_each_time_and_not_blank(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_accuracy_against_cost(points(num=1), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png").std() > 0.05


def test_accuracies_are_shown_from_0_to_100_with_their_intervals(tmp_path: Path, drawn: list[Figure]) -> None:
    alone = CostPoint(label="gru 1:3", gmacs=3.0, accuracy=0.98, interval=(0.9, 1.0), family="gru")
    save_accuracy_against_cost([alone], tmp_path / "cost.png", title="test, n = 50 videos", note="bars: 95 %")
    axes = axes_of(drawn[0])
    low, high = axes.get_ylim()
    assert -5 < low <= 0 and 100 <= high < 106
    assert [tick for tick in axes.get_yticks() if low <= tick <= high] == [0, 20, 40, 60, 80, 100]
    (bar,) = axes.collections
    np.testing.assert_allclose(bar.get_segments()[0][:, 1], [90, 100])  # pyright: ignore[reportAttributeAccessIssue]


LINES = [Line(label="chance", accuracy=0.5), Line(label="majority class", accuracy=0.52)]


def even(*gmacs: float) -> list[CostPoint]:
    """Return points that lie on both lines."""
    return [
        CostPoint(label=f"average {own}", gmacs=own, accuracy=0.5, interval=(0.4, 0.6), family="average")
        for own in gmacs
    ]


def test_lines_such_as_chance_are_named_inside_the_axes_and_no_name_lies_on_them(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    save_accuracy_against_cost(even(3.0), tmp_path / "cost.png", lines=LINES)
    axes = axes_of(drawn[0])
    (names,) = extents(drawn[0], list(axes.texts))
    assert [text.get_text() for text in axes.texts[:2]] == ["chance: 50.0 %", "majority class: 52.0 %"]
    frame = axes.get_window_extent()
    assert all(frame.x0 < box.x0 and box.x1 < frame.x1 for box in names)
    assert_apart(names)
    heights = [axes.transData.transform((3.0, 100 * line.accuracy))[1] for line in LINES]
    assert not any(name.y0 < height < name.y1 for name in names for height in heights)


def test_lines_are_named_beside_the_axes_where_points_stand_along_them(tmp_path: Path, drawn: list[Figure]) -> None:
    save_accuracy_against_cost(even(*np.linspace(3, 6, 9).tolist()), tmp_path / "cost.png", lines=LINES)
    axes = axes_of(drawn[0])
    ((chance, majority),) = extents(drawn[0], list(axes.texts[:2]))
    assert min(chance.x0, majority.x0) > axes.get_window_extent().x1
    assert_apart([chance, majority])


def test_no_line_of_the_grid_runs_through_a_name(tmp_path: Path, drawn: list[Figure]) -> None:
    """Behind each name, at 100 % and at 40 %, stands a white box over the grid and under points and lines."""
    given = [CostPoint(label=f"gru {own}", gmacs=3.0 + 4 * own, accuracy=own, family="gru") for own in (0.4, 1.0)]
    save_accuracy_against_cost(given, tmp_path / "cost.png", lines=[Line(label="chance", accuracy=0.2)])
    axes = axes_of(drawn[0])
    assert len(axes.texts) == 3
    lowest = min(line.get_zorder() for line in axes.lines)
    for text in axes.texts:
        paper = text.get_bbox_patch()
        assert paper is not None and paper.get_facecolor() == (1, 1, 1, 1)
        assert 0.5 < text.get_zorder() < lowest  # the grid is at 0.5, as `axes.axisbelow` has it


def test_the_name_of_a_run_stands_above_its_label(tmp_path: Path, drawn: list[Figure]) -> None:
    given = [CostPoint(label="gru 1:3", gmacs=3.0, accuracy=0.4, family="gru", run="my_run")]
    save_accuracy_against_cost(given, tmp_path / "cost.png")
    assert [text.get_text() for text in axes_of(drawn[0]).texts] == ["my_run\ngru 1:3"]


def test_lines_at_one_height_share_a_name(tmp_path: Path, drawn: list[Figure]) -> None:
    lines = [Line(label="chance", accuracy=0.25), Line(label="majority class", accuracy=0.25)]
    save_accuracy_against_cost(points(num=1), tmp_path / "cost.png", lines=lines)
    assert axes_of(drawn[0]).texts[0].get_text() == "chance, majority class: 25.0 %"


def test_many_methods_at_one_place_are_named_in_a_column_beside_the_axes(tmp_path: Path, drawn: list[Figure]) -> None:
    crowd = [
        CostPoint(label=f"method {i}", gmacs=3.0 + 0.001 * i, accuracy=0.9, interval=(0.85, 0.94), family=str(i))
        for i in range(28)
    ]
    save_accuracy_against_cost(crowd, tmp_path / "cost.png", lines=[Line(label="chance", accuracy=0.1)])
    axes = axes_of(drawn[0])
    texts = [text for text in axes.texts if text.get_text().startswith("method")]
    assert len(texts) == 28
    boxes = [Text.get_window_extent(text, FigureCanvasAgg(drawn[0]).get_renderer()) for text in texts]
    assert_apart(boxes)
    assert min(box.x0 for box in boxes) > axes.get_window_extent().x1


def test_classes_without_videos_are_grey_and_many_classes_are_numbered_from_1(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    save_confusion_matrix(np.array([[3, 1], [0, 0]]), tmp_path / "a.png", classes=["a", "b"])
    (image,) = axes_of(drawn[0]).images
    assert np.ma.getmaskarray(image.get_array()).tolist() == [[False, False], [True, True]]
    save_confusion_matrix(np.eye(400, dtype=np.int64), tmp_path / "b.png", classes=[f"class {i}" for i in range(400)])
    axes = axes_of(drawn[1])
    assert axes.get_ylabel() == "True class (numbers: classes.csv)"
    shown = [int(text.get_text()) for text in axes.get_yticklabels() if text.get_text()]
    assert [tick + 1 for tick in axes.get_yticks()] == shown


def test_a_picture_that_fails_leaves_none_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"of earlier figures")

    def fail(_: Path) -> None:
        raise ValueError("no\nroom")

    with pytest.warns(UserWarning, match=r"curves\.png could not be drawn \(ValueError: no\); no figure is lost"):
        figures.draw_or_warn(path, fail)
    assert not path.exists()

    def full(_: Path) -> None:
        raise OutOfSpaceError("the disk is full")

    with pytest.raises(OutOfSpaceError):
        figures.draw_or_warn(path, full)


def test_curves_leave_no_panel_empty_and_no_legend_on_them(tmp_path: Path, drawn: list[Figure]) -> None:
    save_curves([{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5}], tmp_path / "curves.png", title="$x_{")
    assert len(drawn[0].axes) == 1
    save_curves([{"epoch": 0, "loss": 1.0, "accuracy": 0.5, "val_accuracy": 0.4}], tmp_path / "curves.png")
    (legend,), panels = drawn[1].legends, drawn[1].axes
    drawn[1].draw_without_rendering()
    box = legend.get_window_extent(FigureCanvasAgg(drawn[1]).get_renderer())
    assert not any(box.overlaps(axes.get_window_extent()) for axes in panels)


def tied(num: int) -> list[CostPoint]:
    families = ("average", "gru", "fast-gru", "concat", "lstm", "max")[:num]
    own = [CostPoint(label=name, gmacs=12.0, accuracy=0.6, interval=(0.5, 0.7), family=name) for name in families]
    return [*own, CostPoint(label="backbone", gmacs=20.0, accuracy=0.8, family="backbone")]


def markers_of(axes: Axes) -> list[tuple[float, float]]:
    """Return where markers stand, in pixels."""
    own = [line for line in axes.lines if line.get_marker() in ("o", "s", "^", "D", "v", "P", "<")]
    return [tuple(axes.transData.transform((line.get_xdata()[0], line.get_ydata()[0]))) for line in own]  # pyright: ignore


@pytest.mark.parametrize("num", [2, 3, 6])
def test_points_at_one_place_stand_side_by_side_and_their_names_in_their_order(
    tmp_path: Path, drawn: list[Figure], num: int
) -> None:
    save_accuracy_against_cost(tied(num), tmp_path / "cost.png", note="bars: 95 %")
    axes = axes_of(drawn[0])
    at = [x for x, _ in markers_of(axes)][:num]
    np.testing.assert_allclose(np.diff(at), 8 * drawn[0].dpi / 72, rtol=1e-6)
    np.testing.assert_allclose(np.mean(at), axes.transData.transform((12.0, 60.0))[0])
    supxlabel = drawn[0].get_supxlabel()
    assert supxlabel == "bars: 95 %\npoints at one place are drawn side by side"
    (boxes,) = extents(drawn[0], [text for text in axes.texts if text.get_text() != "backbone"])
    assert len(boxes) == num
    if num <= 3:
        centres = [(box.x0 + box.x1) / 2 for box in boxes]
        assert centres == sorted(centres)
    assert_apart([Text.get_window_extent(text, FigureCanvasAgg(drawn[0]).get_renderer()) for text in axes.texts])


def test_a_point_alone_stays_where_it_is(tmp_path: Path, drawn: list[Figure]) -> None:
    save_accuracy_against_cost(points(), tmp_path / "cost.png")
    shown = [line.get_xdata()[0] for line in axes_of(drawn[0]).lines if line.get_marker() == "o"]  # pyright: ignore
    assert shown == [own.gmacs for own in points()]


def test_the_loss_of_a_run_that_learns_nothing_looks_level(tmp_path: Path, drawn: list[Figure]) -> None:
    records = [{"epoch": i, "loss": 2.3026 - 0.0002 * i, "val_loss": 2.303} for i in range(4)]
    save_curves(records, tmp_path / "curves.png")
    low, high = axes_of(drawn[0]).get_ylim()
    assert low < 2.302 < 2.303 < high and high - low == pytest.approx(0.23, rel=0.01)
    save_curves([{"epoch": i, "loss": 2.0 - 0.5 * i} for i in range(4)], tmp_path / "curves.png")
    np.testing.assert_allclose(axes_of(drawn[1]).get_ylim(), (0.425, 2.075))  # what it was: 5 % around all


def test_training_and_validation_can_be_told_where_they_are_one_point(tmp_path: Path, drawn: list[Figure]) -> None:
    save_curves([{"epoch": 0, "loss": 1.2, "val_loss": 1.2}], tmp_path / "curves.png")
    training, validation = axes_of(drawn[0]).lines
    assert training.get_marker() != validation.get_marker()
    assert validation.get_markerfacecolor() == "none" and validation.get_markersize() > training.get_markersize()
