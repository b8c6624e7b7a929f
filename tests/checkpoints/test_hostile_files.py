"""Damaged and hostile weights files: each ends in a refusal, and takes no more than its size in memory."""

import io
import pickle
import random
import resource
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from own_processes import exit_status, started
from safetensors.torch import save

from vidpipe.pipeline.checkpoints.containers import read_checkpoint
from vidpipe.pipeline.errors import SettingsError, WeightsError

# An array of objects over a bytearray, which is then written through.
OBJECTS = b"\x80\x05cnumpy\nndarray\n(K\x01\x85X\x01\0\0\0O\x96\x08" + b"\0" * 7 + b"AAAAAAA@tRK\0Ns."
# A view of 2·10⁹ numbers, all of which are the same four bytes.
VIEW = b"\x80\x05cnumpy\nndarray\n(J\x00\x94\x35\x77\x85X\x02\0\0\0f4C\x04AAAAK\0K\0\x85tR."
MEMO = b"\x80\x02}r\x00\x87\x93\x03."  # an object's number: 6·10⁷


def refused(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with pytest.raises(WeightsError, match=path.name):
        read_checkpoint(path)


def test_a_pickle_writes_into_no_memory(tmp_path: Path):
    path = tmp_path / "objects.pkl"
    path.write_bytes(OBJECTS)
    assert exit_status(started(refused, path)) == 0  # a process of its own: it once died of the file


@pytest.mark.parametrize(("content", "said"), [(VIEW, "holds more than tensors"), (MEMO, "numbers an object 60000000")])
def test_a_pickle_takes_no_memory_that_it_only_claims(content: bytes, said: str, tmp_path: Path):
    path = tmp_path / "claims.pkl"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=said):
        read_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


class Shared:
    """Pickled as an array whose bytes are those of all others."""

    raw = bytes(4000)

    def __reduce__(self):
        state = (1, (1000,), np.dtype("f4"), False, self.raw)
        return np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), state


def test_arrays_that_share_their_bytes_take_no_more_than_the_file(tmp_path: Path):
    path = tmp_path / "shared.pkl"
    path.write_bytes(pickle.dumps({"a": Shared()}))
    assert read_checkpoint(path).state["a"].shape == (1000,)
    path.write_bytes(pickle.dumps({str(number): Shared() for number in range(100)}))
    with pytest.raises(WeightsError, match="more bytes than the file"):
        read_checkpoint(path)


ARRAYS = {
    "C": np.arange(6, dtype="<f4").reshape(2, 3),
    "Fortran": np.asfortranarray(np.arange(6, dtype="<f8").reshape(2, 3)),
    "big-endian": np.arange(6, dtype=">f4").reshape(2, 3),
    "axes in another order": np.arange(24, dtype="<f4").reshape(2, 3, 4).transpose(1, 0, 2),
    "none": np.zeros((0, 3), "<f4"),
    "one": np.array(2.5, "<f2"),
    "whole": np.arange(-3, 3, dtype=">i8"),
    "bytes": np.arange(250, 256, dtype=np.uint8),
}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_read_by_every_protocol(protocol: int, tmp_path: Path):
    path = tmp_path / "arrays.pkl"
    content = OrderedDict(blobs=ARRAYS, scalar=np.float32(0.5), note="text")
    path.write_bytes(pickle.dumps(dict(content) if protocol % 2 else content, protocol=protocol))
    found = read_checkpoint(path)
    assert found.container == "Caffe2"
    assert set(found.state) == set(ARRAYS)
    for name, own in ARRAYS.items():
        assert found.state[name].dtype == torch.from_numpy(own.astype(own.dtype.newbyteorder("="))).dtype
        np.testing.assert_array_equal(found.state[name].numpy(), own)


def test_arrays_of_python_2_are_read(tmp_path: Path):
    path = tmp_path / "arrays.pkl"
    path.write_bytes(
        b"(dp0\nS'blobs'\n(dp1\nS'a'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
        b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\xa0\\xc0'\ntbss."
    )
    assert read_checkpoint(path).state["a"].tolist() == [1.0, -5.0]


@pytest.mark.parametrize("kind", ["O", "S4", "U2", "c8", "M8[s]"])
def test_arrays_of_other_things_are_refused_by_name(kind: str, tmp_path: Path):
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps({"a": np.zeros(2, kind)}))
    with pytest.raises(WeightsError, match=f"asks for an array of '{kind[0]}"):
        read_checkpoint(path)


def zipped(archive: bytes, compression: int, content: bytes = b"") -> bytes:
    """Return a zip archive anew, with its tensors' bytes replaced."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, content if content and "/data/" in name else old.read(name))
    return made.getvalue()


def saved(content: object, **options: bool) -> bytes:
    made = io.BytesIO()
    torch.save(content, made, **options)
    return made.getvalue()


def test_a_compressed_file_of_torch_is_refused(tmp_path: Path):
    path = tmp_path / "w.pth"
    path.write_bytes(zipped(saved({"a": torch.zeros(10)}), zipfile.ZIP_DEFLATED, bytes(1_000_000)))
    with pytest.raises(WeightsError, match="is compressed"):
        read_checkpoint(path)
    path.write_bytes(zipped(saved({"a": torch.ones(2)}), zipfile.ZIP_STORED))
    assert read_checkpoint(path).state["a"].tolist() == [1.0, 1.0]


def test_members_of_a_zip_that_share_their_bytes_are_refused(tmp_path: Path):
    whole = bytearray(saved({"a": torch.zeros(1)}))
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 20 : at + 28] = struct.pack("<II", 10**6, 10**6)
    path = tmp_path / "w.pth"
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match="more bytes than it has"):
        read_checkpoint(path)


def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(1).expand(10**9)}, path)
    with pytest.raises(WeightsError, match=r"w.pth: a has the shape \(1000000000,\)"):
        read_checkpoint(path)


SMALL = {"a": torch.ones(2), "b.c": torch.zeros(1, dtype=torch.int64)}
FILES: dict[str, Callable[[], bytes]] = {
    "torch": lambda: saved(SMALL),
    "old torch": lambda: saved(SMALL, _use_new_zipfile_serialization=False),
    "safetensors": lambda: save(SMALL),
    **{
        f"pickle {number}": lambda number=number: pickle.dumps({"a": np.ones(2, "f4")}, protocol=number)
        for number in (0, 2, 5)
    },
}


@pytest.mark.parametrize("kind", FILES)
def test_every_cut_and_every_changed_byte_ends_in_a_refusal_or_tensors(kind: str, tmp_path: Path):
    path, whole, draw = tmp_path / "w.bin", FILES[kind](), random.Random(0)
    broken = [whole[:length] for length in range(len(whole))]
    for _ in range(500):
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= draw.randrange(1, 256)
        broken.append(bytes(changed))
    num_refused = 0
    with path.open("wb", buffering=0) as file:
        for content in broken:
            file.seek(0)
            file.write(content)
            file.truncate()
            try:
                read_checkpoint(path)
            except (WeightsError, SettingsError) as error:
                num_refused += 1
                assert str(path) in str(error)
    assert num_refused >= len(whole)  # no cut file is read
    path.write_bytes(whole)
    assert torch.equal(read_checkpoint(path).state["a"], torch.ones(2))
