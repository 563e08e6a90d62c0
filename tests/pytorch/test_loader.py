import numpy as np
import pytest
import torch

from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.order import epoch_order
from cnn_mnist.data.splits import Split
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.loader import Loader, to_tensor
from cnn_mnist.settings import DataSettings


def _loader(**arguments) -> Loader:
    images = torch.arange(10.0).reshape(10, 1, 1, 1)
    return Loader(images, torch.arange(10), **({"batch_size": 4, "seed": 0} | arguments))


def test_an_epoch_visits_every_image_once_in_the_order_of_the_seed():
    loader = _loader()
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    assert [len(batch.labels) for batch in batches] == [batch.size for batch in batches] == [4, 4, 2]
    visited = torch.cat([batch.indices for batch in batches])
    assert visited.tolist() == epoch_order(10, seed=0, epoch=0).tolist()
    assert torch.cat([batch.images for batch in batches]).flatten().tolist() == visited.tolist()
    assert torch.cat([batch.labels for batch in batches]).tolist() == visited.tolist()


def test_epochs_follow_each_other_in_orders_of_their_own():
    loader = _loader()
    orders = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        orders.append(torch.cat([batch.indices for batch in loader]).tolist())
    assert orders == [epoch_order(10, 0, 0).tolist(), epoch_order(10, 0, 1).tolist()]


def test_without_a_seed_the_order_is_the_data_sets():
    assert torch.cat([batch.indices for batch in _loader(seed=None)]).tolist() == list(range(10))


def test_a_restored_loader_goes_on_in_the_middle_of_the_epoch():
    loader = _loader()
    loader.set_epoch(3)
    batches = iter(loader)
    next(batches)
    restored = _loader()
    restored.load_state_dict(loader.state_dict())
    restored.set_epoch(3)  # as Lightning does before it goes on
    for expected, got in zip(batches, restored, strict=True):
        assert expected.indices.tolist() == got.indices.tolist()
    restored.set_epoch(4)
    assert next(iter(restored)).indices.tolist() == epoch_order(10, 0, 4)[:4].tolist()


def test_an_epoch_that_was_broken_off_does_not_shorten_the_next():
    loader = _loader()
    next(iter(loader))
    loader.set_epoch(1)
    assert len(list(loader)) == 3


def test_an_iteration_that_was_broken_off_starts_anew():
    loader = _loader()
    next(iter(loader))  # a sanity check looks at the first batches only
    assert len(list(loader)) == 3


def test_a_place_in_another_order_is_refused():
    state = _loader().state_dict() | {"batch_size": 5}
    with pytest.raises(UserError, match="batch_size: expected the checkpoint's 5, got 4"):
        _loader().load_state_dict(state)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_shares_of_all_processes_make_the_batches_of_one(world_size):
    whole = list(_loader())
    shares = [list(_loader(rank=rank, world_size=world_size)) for rank in range(world_size)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(torch.cat([part.indices for part in parts]).tolist()) == sorted(batch.indices.tolist())
        assert {part.size for part in parts} == {batch.size}


def test_augmented_batches_are_moved_within_the_epoch_and_the_same_after_a_resume():
    images = np.random.default_rng(0).integers(0, 256, (10, 6, 5, 3), np.uint8)
    split = Split(images, np.arange(10, dtype=np.uint8), tuple("0123456789"))
    moved = augmentation(split, DataSettings(shift=1, rotation=5))

    def loader():
        return Loader(to_tensor(images), torch.arange(10), 4, seed=0, augmentation=moved)

    whole, resumed = loader(), loader()
    whole.set_epoch(2)
    batches = iter(whole)
    first = next(batches)
    expected = moved.batch(first.indices.numpy(), epoch=2).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(first.images.numpy(), expected)
    assert not torch.equal(first.images, to_tensor(images)[first.indices])
    resumed.load_state_dict(whole.state_dict())
    resumed.set_epoch(2)
    for one, other in zip(batches, resumed, strict=True):
        assert torch.equal(one.images, other.images)


def test_images_of_one_channel_have_the_strides_of_their_shape():
    tensor = to_tensor(np.zeros((2, 28, 28, 1), np.uint8))
    assert tensor.stride() == (784, 784, 28, 1)  # else PyTorch takes them for channels-last ones
