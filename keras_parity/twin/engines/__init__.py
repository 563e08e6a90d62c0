"""What depends on Keras's backend: one module for each backend, all with the members of ``Engine``.

The room itself may import it, ``convert``, and ``ladder``, which trains on the twin's batches and differentiates.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol, cast

import keras
from numpy.typing import NDArray

from cnn_mnist.data.splits import Split
from cnn_mnist.settings import DataSettings


class Batches(Protocol):
    """The training batches; see ``keras_parity.twin.loader.TrainingBatches``."""

    epoch: int

    def rest(self, first: int) -> Any:
        """What ``Model.fit`` takes: the batches of an epoch from number ``first`` on."""


class Engine(Protocol):
    """A backend of Keras.

    Attributes:
        steps_per_execution: Maximum number of steps between two returns to Python.
        jit_compile: ``jit_compile`` of ``Model.compile``.
    """

    steps_per_execution: int
    jit_compile: bool

    def device(self, accelerator: str, devices: int, processes: int) -> AbstractContextManager[tuple[str, int]]:
        """Chooses the device inside the context, without TF32.

        Args:
            accelerator: ``"cpu"``, ``"gpu"`` or ``"auto"``, which uses a GPU if there is one.
            devices: Number of devices of this process that share each batch.
            processes: Number of processes that share each batch.

        Yields:
            The name of the device, and the CPU threads of one operation.

        Raises:
            UserError: There are not as many GPUs as required, or the backend takes one device only.
        """

    def tf32(self, allowed: bool) -> AbstractContextManager[None]:
        """Lets a GPU round matrix products to TF32 inside the context, or not."""

    def float64(self) -> AbstractContextManager[None]:
        """Lets Keras compute in float64 inside the context, wherever its policy says so."""

    def TrainingBatches(self, split: Split, settings: DataSettings, dtype: str, count: int) -> Batches:  # noqa: N802
        """The training batches; takes the arguments of ``keras_parity.twin.loader.TrainingBatches``."""

    def evaluation_batches(self, split: Split, dtype: str) -> Any:
        """The input of ``Model.predict``; takes the arguments of ``keras_parity.twin.loader.evaluation_batches``."""

    def draw(self, mask: Callable[[NDArray, tuple[int, ...]], NDArray], state: Any, like: Any) -> Any:
        """Draws a mask with NumPy in a step that may be compiled.

        Args:
            mask: Makes a Boolean array from the state and a shape.
            state: A tensor of integers.
            like: The tensor with the shape of the mask.
        """

    def compiled(self, function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
        """Compiles a function that reads and assigns Keras variables, if the backend compiles.

        Args:
            function: From nests of tensors to a nest of tensors.
            variables: All variables that it uses.
        """

    def gradients(
        self, loss: Callable[[], Any], variables: Sequence[keras.Variable], assigned: Sequence[keras.Variable]
    ) -> tuple[Any, list[Any]]:
        """Computes a loss and its gradients.

        Args:
            loss: Returns the loss [], which depends on the variables.
            variables: The variables to differentiate by.
            assigned: The variables that ``loss`` assigns.

        Returns:
            The loss, and the gradient for each variable; None or 0 for a variable that the loss does not depend on.
        """

    def tune(self, layer: keras.Layer) -> None:
        """Makes a layer compute the same result faster, if Keras's own way is slow on this backend."""

    def sync(self, model: keras.Model) -> None:
        """Makes the variables hold the values of the last step, for a callback that reads them."""


ENGINE = cast(Engine, import_module(f"{__name__}.{keras.config.backend()}"))
"""The backend that this process uses."""
