import zipfile

import numpy as np
import pytest

from cnn_mnist.data import npz
from cnn_mnist.data.splits import check_network, load_full_sets, load_splits
from cnn_mnist.errors import UserError
from cnn_mnist.settings import DataSettings


def _arrays(size=21, shape=(32, 32, 3), classes=7) -> dict[str, np.ndarray]:
    labels = np.arange(size, dtype=np.uint8) % classes
    images = np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)
    return {"x_train": images, "y_train": labels, "x_test": images[:9], "y_test": labels[:9]}


@pytest.fixture
def write(tmp_path):
    def save(**arrays):
        np.savez_compressed(tmp_path / "my.npz", **arrays)
        return tmp_path / "my.npz"

    return save


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (5, 9, 2), (8, 6)])
def test_a_file_of_any_shape_and_number_of_classes_is_split(write, shape):
    arrays = _arrays(shape=shape)
    splits = load_splits(DataSettings(file=str(write(**arrays)), val_size=7, batch_size=4))
    assert [len(split.labels) for split in splits.values()] == [14, 7, 9]
    assert {split.image_shape for split in splits.values()} == {(*shape, 1)[:3]}
    assert splits["train"].classes == tuple("0123456")
    assert np.bincount(splits["val"].labels).tolist() == [1] * 7
    np.testing.assert_array_equal(splits["test"].images.reshape(9, *shape), arrays["x_test"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_test": None}, "expected an .npz file with the arrays x_train, .*no item named 'y_test.npy'"),
        ({"x_train": np.zeros((21, 32, 32, 3), np.float32)}, r"expected x_train as uint8 .*, got float32 21x32x32x3"),
        ({"x_train": np.zeros((21, 32), np.uint8)}, r"x_train as uint8 \[n, height, width\] or .*, got uint8 21x32"),
        ({"y_train": np.zeros((21, 1), np.uint8)}, r"expected y_train as uint8 \[n\], got uint8 21x1"),
        ({"y_train": np.zeros(20, np.uint8)}, "expected a label for each image in train, got 21 images and 20 labels"),
        ({"x_test": np.zeros((9, 32, 30, 3), np.uint8)}, "of one shape in .*, got 32x32x3 and 32x30x3"),
        ({"x_test": np.zeros((0, 32, 32, 3), np.uint8)}, "expected x_test as uint8 .*, got uint8 0x32x32x3"),
        ({"y_train": np.arange(21, dtype=np.uint8) % 7 + 1}, "every label from 0 to 7 in y_train, got none of 0"),
        ({"y_test": np.full(9, 7, np.uint8)}, "every label from 0 to 6 in y_train, got none of 7"),
        ({"x_train": np.array([{}] * 21)}, "expected an .npz file .*allow_pickle=False"),
    ],
    ids=["missing", "float", "flat", "column", "count", "shapes", "empty", "from one", "unseen", "objects"],
)
def test_each_mistake_is_one_line(write, changed, message):
    path = write(**{name: array for name, array in (_arrays() | changed).items() if array is not None})
    with pytest.raises(UserError, match=message) as error:
        npz.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"no archive"], ids=["empty", "cut", "text"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "my.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"expected an \.npz file with the arrays"):
        npz.load(tmp_path / "my.npz")
    with pytest.raises(UserError, match=r"none\.npz: expected an \.npz file .*, got No such file"):
        npz.load(tmp_path / "none.npz")


def test_a_file_that_claims_or_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, write):
    monkeypatch.setattr(npz, "MOST_BYTES", 10_000)
    with pytest.raises(UserError, match=r"got [\d,]+ bytes of them, more than 10,000"):
        npz.load(write(**_arrays()))
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:  # an array of 2**60 bytes that has none
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,), }"
        for name in npz.NAMES:
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(UserError, match=r"expected an \.npz file with the arrays"):
        npz.load(tmp_path / "claims.npz")


def test_data_that_do_not_fit_the_network_say_how_to_describe_one(write):
    test = load_full_sets(DataSettings(file=str(write(**_arrays()))))[1]
    check_network(test, (32, 32, 3), 7)
    with pytest.raises(UserError) as error:
        check_network(test, (28, 28, 1), 10)
    assert str(error.value) == (
        "the images are 32x32x3, the network takes 28x28x1: begin the architecture with `- Input: [32, 32, 3]`"
    )
    with pytest.raises(
        UserError, match="of 7 classes, the network has 10 logits: end the architecture with `- Dense: 7`"
    ):
        check_network(test, (32, 32, 3), 10)


def test_a_file_and_another_named_set_exclude_each_other():
    with pytest.raises(UserError, match="dataset: expected no other data set with a file, got kmnist"):
        DataSettings(file="my.npz", dataset="kmnist")
    with pytest.raises(UserError, match="dataset: expected one of mnist, fashion_mnist, kmnist, got cifar"):
        DataSettings(dataset="cifar")
