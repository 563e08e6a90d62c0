"""Random networks, for the tests that a property holds for any."""

from hypothesis import strategies as st

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.architecture.layer_spec import ACTIVATIONS
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError

SIZES = st.integers(1, 3)
PAIRS = SIZES | st.tuples(SIZES, SIZES).map(list)
FLAG = st.booleans()
ACTIVATION = st.sampled_from((None, *(name for name in ACTIVATIONS if name != "softmax")))
PADS = st.integers(0, 2)
PADDING = st.sampled_from(("valid", "same"))
EXPLICIT = PADDING | PADS | st.tuples(st.tuples(PADS, PADS).map(list), st.tuples(PADS, PADS).map(list)).map(list)
DEPTHWISE = {
    "kernel_size": PAIRS,
    "strides": SIZES,
    "padding": EXPLICIT,
    "depth_multiplier": st.integers(1, 2),
    "use_bias": FLAG,
    "activation": ACTIVATION,
}


def entry(kind, **arguments):
    return st.fixed_dictionaries(arguments).map(lambda drawn: {kind: drawn})


ANYWHERE = (
    entry("BatchNormalization", momentum=st.sampled_from((0.9, 0.99)), epsilon=st.sampled_from((1e-3, 1e-2))),
    entry("LayerNormalization", epsilon=st.sampled_from((1e-3, 1e-2))),
    entry("Dropout", rate=st.sampled_from((0.0, 0.25, 0.5))),
    entry("Activation", activation=ACTIVATION.filter(bool)),
    entry("LeakyReLU", negative_slope=st.sampled_from((0.01, 0.3))),
    entry("ELU", alpha=st.sampled_from((0.5, 1.0))),
)
IMAGES = (
    entry(
        "Conv2D",
        filters=st.sampled_from((2, 4)),
        kernel_size=PAIRS,
        padding=EXPLICIT,
        use_bias=FLAG,
        groups=st.sampled_from((1, 1, 2)),
        activation=ACTIVATION,
        strides=PAIRS,
    ),
    entry("Conv2D", filters=st.just(3), kernel_size=PAIRS, padding=EXPLICIT, dilation_rate=st.integers(1, 2)),
    entry("DepthwiseConv2D", **DEPTHWISE),
    entry("SeparableConv2D", filters=st.just(4), **DEPTHWISE),
    entry("MaxPooling2D", pool_size=PAIRS, strides=PAIRS, padding=PADDING),
    entry("AveragePooling2D", pool_size=PAIRS, strides=PAIRS, padding=PADDING),
    entry("ZeroPadding2D", padding=EXPLICIT.filter(lambda value: not isinstance(value, str))),
)
FLATTENING = st.sampled_from(("Flatten", "Flatten", "GlobalMaxPooling2D", "GlobalAveragePooling2D"))
DENSE = entry("Dense", units=st.integers(2, 5), use_bias=FLAG, activation=ACTIVATION)


@st.composite
def descriptions(draw):
    """Any list of records, most of which fit."""
    start = [{"Input": [draw(st.integers(5, 9)), draw(st.integers(5, 9)), draw(st.integers(1, 3))]}]
    body = draw(st.lists(st.one_of(*IMAGES, *ANYWHERE), min_size=1, max_size=5))
    tail = draw(st.lists(st.one_of(DENSE, *ANYWHERE), max_size=3))
    return [*start, *body, draw(FLATTENING), *tail, {"Dense": draw(st.integers(2, 4))}]


def fits(description):
    try:
        read_network(description)
    except UserError:
        return False
    return True


def networks() -> st.SearchStrategy[Network]:
    """Networks that fit."""
    return descriptions().filter(fits).map(read_network)


def broken() -> st.SearchStrategy[list]:
    """Descriptions of which some record does not fit."""
    odd = st.sampled_from(
        (
            {"Conv2D": {"filters": 4, "kernel_size": 40}},
            {"Conv2D": {"filters": 0, "kernel_size": 3}},
            {"Conv2D": {"filters": 4}},
            {"Conv2D": {"filters": 4, "kernel_size": 3, "colour": 1}},
            {"Conv2D": {"filters": 4, "kernel_size": [3, 3, 3]}},
            {"Conv2D": {"filters": 4, "kernel_size": 3, "groups": 7}},
            {"Conv2D": {"filters": 4, "kernel_size": 1, "strides": 2, "dilation_rate": 2}},
            {"DepthwiseConv2D": {"kernel_size": 1, "strides": [1, 2]}},
            {"MaxPooling2D": {"pool_size": 50}},
            {"MaxPooling2D": {"padding": 1}},
            {"ZeroPadding2D": "same"},
            {"BatchNormalization": {"scale": False}},
            {"BatchNormalization": {"momentum": 1.5}},
            {"Dropout": 1},
            {"Dense": {"units": "many"}},
            {"Dense": 3, "Flatten": None},
            {"Activation": "relo"},
            {"Activation": "softmax"},
            {"LSTM": 3},
            "Residual",
            ["Dense", 3],
            7,
            None,
        )
    )
    drawn = st.tuples(descriptions().filter(fits), odd, st.integers(1, 8))
    put_in = drawn.map(lambda some: [*some[0][: some[2]], some[1], *some[0][some[2] :]])
    return put_in.filter(lambda description: not fits(description))  # a softmax at the end does
