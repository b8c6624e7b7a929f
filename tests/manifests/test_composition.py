"""What a manifest is made of, and names that look alike."""

import pytest

from vidpipe.pipeline.manifests.composition import composition, look_alikes, shown
from vidpipe.pipeline.manifests.manifest import read_draft


def test_classes_and_splits_are_counted(tmp_path):
    rows = ["a|b,train,g", "a,test,g", ",test,", " a , train,h", "b,train,h"]
    text = "path,label,split,group\n" + "".join(f"{i}.mp4,{row}\n" for i, row in enumerate(rows))
    (tmp_path / "m.csv").write_text(text)
    made_of = composition(read_draft(tmp_path / "m.csv").videos)
    assert made_of.classes == {"a": {"test": 1, "train": 2}, "b": {"test": 0, "train": 2}}
    assert made_of.splits == {"test": 2, "train": 3}
    assert (made_of.unlabelled, made_of.totals) == (1, {"a": 3, "b": 2})
    assert made_of.shared_groups == {"g": ("test", "train")}
    assert (made_of.own_columns, made_of.look_alikes) == (("group",), ())


@pytest.mark.parametrize(
    ("one", "other", "differ_in"),
    [
        ("caf\u00e9", "cafe\u0301", "Unicode form"),
        ("jump", "\uff4aump", "Unicode form"),
        ("jump", "jump\u200b", "invisible characters"),
        ("jump", "\ufeffjump", "invisible characters"),
        ("ju\u00admp", "jump", "invisible characters"),
        ("jump", "Jump", "case"),
        ("Stra\u00dfe", "STRASSE", "case"),
        ("long jump", "long  jump", "blanks"),
        ("long jump", "long\u00a0jump", "Unicode form"),
        ("long jump", "long_jump", "'_' or '-' for blanks"),
        ("long-jump", "long_jump", "'_' or '-' for blanks"),
        ("jump.", "jump", "a dot at the end"),
    ],
)
def test_names_that_look_alike_are_found(one, other, differ_in):
    (found,) = look_alikes({other: 1, one: 3, "different": 9}, column="label")
    assert found.names == {one: 3, other: 1}
    assert found.differ_in == (differ_in,)


def test_several_differences_are_named_and_different_names_are_left_alone():
    (found,) = look_alikes({"A b": 1, "a_b": 2, "a\u200bb": 5, "a b": 3}, column="split")
    assert list(found.names) == ["a b", "a_b", "A b"]
    assert found.differ_in == ("case", "'_' or '-' for blanks")
    assert not look_alikes({"a1": 1, "a2": 1, "ab": 1, "b": 1, "...": 1, "\u65e5": 1, "\u672c": 1}, column="label")
    assert shown("caf\u00e9\u200b") == r"'caf\xe9\u200b'"
