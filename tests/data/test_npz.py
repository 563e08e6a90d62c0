import zipfile

import numpy as np
import pytest

from cnn_mnist.data import npz
from cnn_mnist.data.splits import check_network, load_full_sets, load_splits
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.settings import DataSettings


def _arrays(size=21, shape=(32, 32, 3), classes=7) -> dict[str, np.ndarray]:
    labels = (np.arange(size) % classes).astype(np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (size + 9, *shape), np.uint8)
    return {"x_train": images[9:], "y_train": labels, "x_test": images[:9], "y_test": labels[:9]}


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
        (
            {y: _arrays()[y] + np.uint8(1) for y in ("y_train", "y_test")},
            "label from 0 to 7 in y_train, got none of 0; num",
        ),
        (
            {"y_test": np.full(9, 7, np.uint8)},
            "only classes of y_train in y_test, got 7, of which y_train has no image",
        ),
        ({"y_train": np.arange(21) % 7 + 1}, r"got int64 21; save y_train\.ravel\(\)\.astype\(np\.uint8\)$"),
        ({"y_train": np.arange(21) - 1}, r"got int64 21; number the classes of both sets together: _, y = np\.unique"),
        ({"y_train": np.full(21, "cat")}, "got <U3 21; number the classes of both sets together"),
        ({"y_train": np.arange(300)}, "got int64 300; there may be 256 classes at most, these are 300"),
        ({"y_train": np.zeros((21, 300))}, "float64 21x300; there may be 256 classes at most, these are 300"),
        ({"x_train": np.full((21, 2, 2), "a")}, r"expected x_train as uint8 .*, got <U1 21x2x2; save .* as numbers"),
        ({"y_test": np.array([{}] * 9)}, r"got y_test of Python objects; save numbers: np\.stack\(y_test\)"),
    ],
    ids=[
        *("missing", "float", "flat", "column", "count", "shapes", "empty", "from one", "unseen", "int64"),
        *("negative", "words", "300 classes", "300 columns", "text", "objects"),
    ],
)
def test_each_mistake_is_one_line(write, changed, message):
    path = write(**{name: array for name, array in (_arrays() | changed).items() if array is not None})
    with pytest.raises(UserError, match=message) as error:
        npz.load(path)
    assert "\n" not in str(error.value)


def test_labels_numbered_as_the_message_says_are_right(write):
    arrays = _arrays()
    words = np.array(["kiwi", "fig", "plum", "pear", "date", "lime", "nut"])
    both = np.concatenate([words[arrays["y_train"]], words[arrays["y_test"]]])
    _, y = np.unique(both, return_inverse=True)
    y_train, y_test = np.split(y.astype(np.uint8), [21])
    data = npz.load(write(**arrays | {"y_train": y_train, "y_test": y_test}))
    assert (np.sort(words)[data.train_labels] == words[arrays["y_train"]]).all()
    assert (np.sort(words)[data.test_labels] == words[arrays["y_test"]]).all()


def test_256_classes_are_read(write):
    arrays = _arrays(size=256, shape=(4, 4), classes=256)
    path = write(**arrays | {"x_test": 255 - arrays["x_train"], "y_test": arrays["y_train"]})
    train, _ = load_full_sets(DataSettings(file=str(path)))
    check_network(train, (4, 4, 1), 256)
    assert train.classes[-1] == "255"


def test_further_arrays_are_named(write):
    arrays = _arrays()
    with pytest.warns(UserNotice, match="x_val, y_val are not read; --data.val_size holds out training images"):
        npz.load(write(**arrays, x_val=arrays["x_test"], y_val=arrays["y_test"]))


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


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [(28, 28), (5, 9), (64, 32)])
def test_channels_first_are_recognised_turned_and_said(write, channels, side):
    arrays = _arrays(shape=(channels, *side))
    with pytest.warns(UserNotice, match="with channels first; they are turned") as notices:
        data = npz.load(write(**arrays))
    assert len(notices) == 1
    np.testing.assert_array_equal(data.train_images, arrays["x_train"].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(data.test_images, arrays["x_test"].transpose(0, 2, 3, 1))


@pytest.mark.parametrize("shape", [(2, 28, 28), (28, 28, 28), (9, 9, 16), (3, 32, 3), (1, 28, 1), (8, 32, 32)])
def test_an_unclear_axis_of_channels_is_asked_for(write, shape):
    path = str(write(**_arrays(shape=shape)))
    with pytest.raises(UserError, match=r"may be either; set --data\.channels_first=true or false"):
        load_full_sets(DataSettings(file=path))
    height, width, channels = shape
    for first, turned in (False, shape), (True, (width, channels, height)):
        assert load_full_sets(DataSettings(file=path, channels_first=first))[0].image_shape == turned


@pytest.mark.parametrize(
    ("changed", "notice"),
    [
        ({"x_train": lambda x: x > 127}, r"x_train has values up to 1 of 255, .* if 1 is white, save x_train \* 255"),
        ({"x_test": lambda x: x // 16}, r"x_test has values up to 15 of 255, .* save x_test \* 17"),
        ({"y_test": lambda y: y % 6}, "y_test has no image of class 6"),
        (
            {"x_test": lambda x: np.concatenate([_arrays()["x_train"][:2], x[2:]])},
            "2 of 9 test images are also training",
        ),
    ],
    ids=["binary", "four bits", "class", "repeated"],
)
def test_what_is_probably_a_mistake_is_one_notice(write, changed, notice):
    arrays = _arrays()
    arrays |= {name: change(arrays[name]).astype(np.uint8) for name, change in changed.items()}
    with pytest.warns(UserNotice, match=notice) as notices:
        npz.load(write(**arrays))
    assert len(notices) == 1


def test_the_remedy_for_another_type_or_shape_makes_the_file_right(write):
    right = _arrays(shape=(28, 28))
    variants = {
        "x_train": [right["x_train"] / np.float32(255), right["x_train"].astype(float), right["x_train"].astype(int)],
        "y_train": [
            right["y_train"].astype(int),
            right["y_train"][:, None],
            np.eye(7, dtype=np.uint8)[right["y_train"]],
        ],
    }
    for name, arrays in variants.items():
        for array in arrays:
            with pytest.raises(UserError) as error:
                npz.load(write(**right | {name: array}))
            made = eval(str(error.value).split("; save ")[1], {"np": np, name: array})
            np.testing.assert_array_equal(npz.load(write(**right | {name: made}))[npz.NAMES.index(name)], right[name])


def test_a_file_and_another_named_set_exclude_each_other():
    with pytest.raises(UserError, match="dataset: expected no other data set with a file, got kmnist"):
        DataSettings(file="my.npz", dataset="kmnist")
    with pytest.raises(UserError, match="dataset: expected one of mnist, fashion_mnist, kmnist, got cifar"):
        DataSettings(dataset="cifar")
