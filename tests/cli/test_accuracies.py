"""What people read about accuracies: top-5 where it says something, and one honest sentence about differences."""

import pytest

from vidpipe.cli.accuracies import accuracy_names, class_lines, comparison_line, numbered_line


def pair(first: str, second: str, p: float, *, ahead: int = 5, behind: int = 1, videos: int = 30) -> dict:
    counts = {"only_first_right": ahead, "only_second_right": behind, "num_videos": videos}
    return {"first": first, "second": second, "p_value_holm": p, **counts}


@pytest.mark.parametrize(("num_classes", "shown"), [(2, False), (10, False), (11, True), (400, True)])
def test_top_5_is_shown_among_more_than_ten_classes(num_classes: int, shown: bool) -> None:
    assert ("top5" in accuracy_names(num_classes)) is shown
    assert next(iter(accuracy_names(num_classes))) == "top1"


def test_the_best_run_is_compared_with_each_other() -> None:
    pairs = [pair("a", "b", 0.0001), pair("c", "b", 0.04, ahead=1, behind=7), pair("a", "c", 0.5), pair("b", "d", 0.2)]
    line = comparison_line(pairs, {"a": 0.5, "b": 0.9, "c": 0.6, "d": 0.89})
    assert line == (
        "b is the highest; on the same 30 videos it is better than c (p = 0.04); it is worse than a (p < 0.001); it "
        "cannot be told from d (p = 0.2) (exact McNemar test, Holm over 4 pairs)."
    )


def test_a_tie_has_no_highest() -> None:
    line = comparison_line([pair("a", "b", 1.0, ahead=2, behind=2)], {"a": 0.5, "b": 0.5})
    assert line == "a is as high as any; on the same 30 videos it cannot be told from b (p = 1) (exact McNemar test)."


def test_many_runs_are_counted_and_other_numbers_of_videos_said() -> None:
    pairs = [pair("best", f"r{i}", 0.3 + 0.1 * i, videos=20 + i) for i in range(6)]
    line = comparison_line(pairs, {"best": 1.0} | {f"r{i}": 0.5 for i in range(6)})
    assert "on the same 20 to 25 videos it cannot be told from r0, r1, r2, r3 and 2 more (p = 0.3 to 0.8)" in line


def test_nothing_is_said_where_nothing_is_compared() -> None:
    assert comparison_line([], {"a": 1.0}) == comparison_line([], {}) == ""
    assert comparison_line([pair("b", "c", 0.5)], {"a": 1.0, "b": 0.1, "c": 0.2}) == ""


def run(name: str, **changes: object) -> dict:
    own = {"name": name, "absent_classes": [], "unknown_classes": {}, "numbered_classes": {}}
    return own | {"metrics": {"classes": [0] * 6, "num_scored": 40}} | changes


def test_runs_alike_share_a_line_about_their_classes() -> None:
    runs = [run(name, absent_classes=["x"], unknown_classes={"y": 2, "z": 1}) for name in "ab"] + [run("c")]
    assert class_lines(runs, "val") == [
        "'val' shows 5 of the 6 classes, without 'x'; class mean % is over the 5 that occur.",
        "a, b: 3 of the 40 scored videos are of classes that training did not show ('y', 'z'); they are counted wrong.",
    ]
    assert class_lines([run("a")], "test") == []


def test_numbered_names_have_a_legend() -> None:
    assert numbered_line([run("a")]) == ""
    assert numbered_line([run(name, numbered_classes={"3": "跑步"}) for name in "ab"]) == (
        "No font here draws some names, so pictures have their numbers in classes.csv: no. 3 is '跑步'."
    )
