"""Random shifts and mirror images in mini-batches: the moves, their bits, and what is refused."""

import json

import numpy as np
import pytest
from batches import memory_mapped
from command import fastbcd
from mpi import program, run_ranks
from share import share
from sklearn.datasets import load_digits
from stopping import StopAfter

from fastbcd import (
    BCDClassifier,
    InputError,
    MiniBatchThreeSplitting,
    Model,
    Problem,
    ThreeSplitting,
    kernels,
    one_hot,
    resume,
)
from fastbcd.callbacks import SaveCheckpoint
from fastbcd.data.augmentation import Augmentation, Moves
from fastbcd.data.preprocessing import Preprocessing
from fastbcd.layers import build_layers

SHAPE = (6, 5, 2)
DIGITS = load_digits()


def moved(image, dy, dx, mirrored, padding):
    """By the definition, in NumPy: pad by the shift, cut out, then mirror."""
    P = max(abs(dy), abs(dx), 1)
    height, width, C = image.shape
    padded = np.empty((height + 2 * P, width + 2 * P, C), image.dtype)
    padded[:] = padding
    padded[P:-P, P:-P] = image
    cut = padded[P + dy : P + dy + height, P + dx : P + dx + width]
    return cut[:, ::-1] if mirrored else cut


def network(text="conv:4:3,dense:8", shape=SHAPE):
    layers = build_layers(text, shape, 3)
    return Problem((layers[0].d_in, *(layer.d_out for layer in layers)), layers=layers)


def samples(n=120, shape=SHAPE):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((n, int(np.prod(shape)))).astype(np.float32)
    return X, one_hot(rng.integers(3, size=n), 3)


X, Y = samples()


def solver_of(augment="crop:2,flip", problem=None, **options):
    options = {"batch_size": 32, "n_threads": 1, "tile_rows": 8, **options}
    return MiniBatchThreeSplitting(problem or network(), augment=augment, **options)


def weights(result):
    return [W.tobytes() for W in result.network.W]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernel_pads_cuts_and_mirrors(dtype):
    rng = np.random.default_rng(0)
    moves = [(dy, dx, m) for dy in range(-7, 8) for dx in range(-6, 7) for m in (0, 1)]
    images = rng.standard_normal((len(moves), *SHAPE)).astype(dtype)
    padding = np.array([0.5, -0.25])
    expected = [moved(image, *move, padding) for image, move in zip(images, moves, strict=True)]
    augmented = np.ones((len(moves), images[0].size + 1), dtype)  # as V^ has a last column of ones
    augmented[:, :-1] = images.reshape(len(moves), -1)
    kernels.move_images(augmented[:, :-1], np.array(moves, np.int32), *SHAPE[:2], padding)
    np.testing.assert_array_equal(augmented[:, :-1].reshape(images.shape), expected)
    assert (augmented[:, -1] == 1.0).all()


def test_all_shifts_and_both_mirror_images_are_equally_likely():
    moves = Augmentation("crop:2,flip").draw(np.random.default_rng(0), 50_000)
    for column, values in enumerate((range(-2, 3), range(-2, 3), range(2))):
        found, counts = np.unique(moves[:, column], return_counts=True)
        assert list(found) == list(values)
        np.testing.assert_allclose(counts / len(moves), 1 / len(values), atol=0.01)
    assert not Augmentation("crop:2").draw(np.random.default_rng(0), 99)[:, 2].any()
    assert not Augmentation("flip").draw(np.random.default_rng(0), 99)[:, :2].any()


def test_a_step_learns_from_moved_images():
    """A run on images that the oracle moved beforehand gives the same weights."""
    augment = Augmentation("crop:2,flip", SHAPE, padding=(0.5, -0.25))
    problem = network("dense:8")
    solver, plain = solver_of(augment, problem), solver_of(None, problem)
    state, other = solver.init(X, Y, passes=2), plain.init(X, Y, passes=2)
    solver.partial_fit(state, X[:32], Y[:32])
    moves = augment.draw(other.rng, 32)
    images = X[:32].reshape(32, *SHAPE)
    before = [moved(V, *move, augment.padding) for V, move in zip(images, moves, strict=True)]
    plain.partial_fit(other, np.reshape(before, (32, -1)), Y[:32])
    for a, b in zip(state.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_images_of_another_size_are_refused_and_nothing_is_written():
    device = MiniBatchThreeSplitting(Problem((60, 4, 3))).device
    moves = Moves(Augmentation("crop:1", SHAPE), np.ones((2, 3), np.int32))
    memory = np.zeros((2, 70), np.float32)
    with pytest.raises(
        InputError, match=r"image_shape is \(6, 5, 2\), which does not fit rows of 8"
    ):
        moves.apply(device, memory[:, :8], slice(0, 2))
    assert not memory.any()


@pytest.mark.parametrize("dtype", share(["float32", "float64"], at_most=2))
def test_threads_and_files_change_no_bit(dtype, tmp_path):
    one = solver_of(dtype=dtype).fit(X, Y, max_iter=3)
    for given in ((X, Y), memory_mapped(tmp_path, X=X, Y=Y)):
        assert weights(solver_of(dtype=dtype, n_threads=2).fit(*given, max_iter=3)) == weights(one)
    assert weights(solver_of(None, dtype=dtype).fit(X, Y, max_iter=3)) != weights(one)


def test_the_samples_stay_as_they_are_and_so_do_their_weights():
    given, weight = X.copy(), np.linspace(0.5, 2.0, len(X))
    solver = solver_of()
    weighted = solver.fit(given, Y, max_iter=2, sample_weight=weight)
    np.testing.assert_array_equal(given, X)
    assert weights(weighted) != weights(solver.fit(X, Y, max_iter=2))
    # F is that of the unmoved images.
    assert solver.objective(weighted.state) == solver_of(None).objective(weighted.state)


def test_without_it_no_random_number_is_drawn():
    solver = solver_of(None)
    state = solver.step(solver.init(X, Y, seed=7, passes=2))
    rng = np.random.default_rng(7)
    for _ in range(2):  # the samples of the first weights, then the order of the pass
        rng.permutation(len(X))
    assert state.rng.bit_generator.state == rng.bit_generator.state


def test_a_resumed_run_makes_the_same_moves_and_no_others(tmp_path):
    path = tmp_path / "c.safetensors"
    whole = solver_of().fit(X, Y, max_iter=4)
    solver_of().fit(X, Y, max_iter=4, callbacks=[StopAfter(2), SaveCheckpoint(path)])
    assert weights(resume(path, solver_of(n_threads=2), X, Y)) == weights(whole)
    for other in (None, "crop:2", Augmentation("crop:2,flip", padding=1.0)):
        with pytest.raises(InputError, match="augment was Augmentation.* there, and is .* here$"):
            resume(path, solver_of(other), X, Y)


FITS = """
import json
import numpy as np
from mpi4py import MPI
from fastbcd import MiniBatchThreeSplitting, one_hot
from fastbcd.callbacks import BatchLoss
from test_augmentation import X, Y, solver_of
comm = MPI.COMM_WORLD
def fit(rows, **more):
    solver = solver_of(dtype="float64", **more)
    return solver.fit(X[rows], Y[rows], max_iter=3, callbacks=[BatchLoss()])
alone = fit(slice(None))
cuts = [0, 50, len(X)][: comm.size] + [len(X)]
spread = fit(slice(cuts[comm.rank], cuts[comm.rank + 1]), comm=comm)
pairs = list(zip(spread.network.W, alone.network.W))
error = max(float(np.linalg.norm(W - V) / np.linalg.norm(V)) for W, V in pairs)
same = all(len({W.tobytes() for W in comm.allgather(W)}) == 1 for W, _ in pairs)
if comm.rank == 0:
    print(json.dumps([error, same]))
"""


def test_ranks_make_the_moves_of_one_process():
    run_ranks(1, *program(FITS), timeout=240)
    error, same = json.loads(run_ranks(2, *program(FITS), timeout=240)[0])
    assert same
    assert error < 1e-9


@pytest.mark.parametrize(
    ("augment", "problem", "message"),
    [
        ("crop", None, "^augment must be crop:P, flip, or crop:P,flip, P being at least 1, got"),
        ("crop:0", None, "^augment must be .* got 'crop:0'"),
        ("flip,flip", None, "^augment must be"),
        (3, None, "^augment must be .* got 3"),
        ("crop:5", None, "^augment: crop:5 may leave nothing of an image of 6 x 5 pixels"),
        ("flip", network("dense:8"), "give Augmentation.'flip', image_shape="),
        (Augmentation("flip", (4, 4)), network("dense:8"), r"image_shape is \(4, 4, 1\), which"),
        (Augmentation("flip", (5, 6, 2)), None, r"does not fit the first layer, Conv2d"),
    ],
)
def test_what_cannot_be_done_is_said(augment, problem, message):
    with pytest.raises(InputError, match=message):
        solver_of(augment, problem)


def test_a_gpu_is_refused():
    class GPU:
        name = "cuda"

    with pytest.raises(InputError, match="^augment runs on the processor only"):
        Augmentation.of("crop:1", network().layers[0], GPU())
    assert Augmentation.of(None, network().layers[0], GPU()) is None


def test_the_padding_is_the_scaled_value_of_a_black_pixel():
    inputs = Preprocessing(np.tile([1.0, 2.0], 30), np.tile([0.5, 0.25], 30))
    scaled = Augmentation("crop:1", SHAPE).scaled_by(inputs, np.dtype("float32"))
    assert scaled.padding == (-0.5, -0.5)
    assert Augmentation("crop:1", SHAPE).padding == (0.0, 0.0)


@pytest.fixture
def paddings(monkeypatch):
    """The padding at each draw, in a list."""
    seen, draw = [], Augmentation.draw

    def noted(self, rng, n):
        seen.append(self.padding)
        return draw(self, rng, n)

    monkeypatch.setattr(Augmentation, "draw", noted)
    return seen


def test_the_padding_follows_the_scaling_of_estimators_and_commands(paddings, tmp_path):
    def black(preprocessing):
        return (float(preprocessing(np.zeros((1, 64)), np.dtype("float32"))[0, 0]),)

    images, labels = DIGITS.images[:200], DIGITS.target[:200]
    options = {"layers": "conv:4:3:2", "augment": "crop:1", "preprocess": "standard"}
    fitted = BCDClassifier(**options, max_iter=1).fit(images, labels)
    assert {*paddings} == {black(fitted.model_.preprocessing)}
    paddings.clear()
    stream = BCDClassifier(**options)
    for factor in (1.0, 100.0):  # so large a change makes a new scaling
        stream.partial_fit(factor * images + factor, labels, classes=range(10))
        assert paddings[-1] == black(stream.model_.preprocessing)
    assert paddings[0] != paddings[-1]
    given = ("--image-shape", "8,8", "--layers", "conv:4:3:2", "--preprocess", "standard")
    given += ("--batch-size", 50, "--epochs", 1)
    paddings.clear()
    fastbcd("train", *given, "--augment", "crop:1", "--quiet", "--out", "run", cwd=tmp_path)
    model = Model.load(tmp_path / "run" / "model.safetensors")
    assert {*paddings} == {black(model.preprocessing)}
    assert paddings[0] != (0.0,)


def test_estimators_move_images_and_refuse_what_has_none():
    images, labels = DIGITS.images[:200], DIGITS.target[:200]
    options = {"layers": "conv:4:3:2", "max_iter": 3, "random_state": 0, "n_threads": 1}

    def outputs(**more):
        return BCDClassifier(**options | more).fit(images, labels).predict_proba(images)

    still, first = outputs(), outputs(augment="crop:1")
    np.testing.assert_array_equal(first, outputs(augment="crop:1", n_threads=2))
    assert (first != still).any()
    stream = BCDClassifier(**options, augment="crop:1")
    for _ in range(2):
        stream.partial_fit(images, labels, classes=range(10))
    with pytest.raises(InputError, match="^augment: it was Augmentation"):
        stream.set_params(augment="crop:2").partial_fit(images, labels)
    for more, message in (
        ({"layers": None}, "^augment needs layers"),
        ({"layers": "dense:8"}, "image_shape="),
        ({"solver": "three-splitting"}, "^augment belongs to the solver mini-batch"),
    ):
        rows = images.reshape(200, 64)
        with pytest.raises(InputError, match=message):
            BCDClassifier(**options | {"augment": "flip"} | more).fit(rows, labels)
    with pytest.raises(TypeError, match="augment"):
        ThreeSplitting(network(), augment="flip")


def test_the_command_line_moves_images_and_remembers_it(tmp_path):
    options = ("--image-shape", "8,8", "--layers", "conv:4:3:2", "--batch-size", 50, "--epochs", 2)
    folder = tmp_path / "run"
    fastbcd("train", *options, "--augment", "crop:1", "--quiet", "--out", folder, cwd=tmp_path)
    assert json.loads((folder / "config.json").read_text())["augment"] == "crop:1"
    assert json.loads((folder / "summary.json").read_text())["augment"] == "crop:1"
    (folder / "summary.json").unlink()  # as if it had been killed
    for given, message in (
        (("--resume", folder, "--augment", "flip"), "was started with crop:1, not flip"),
        (("--augment", "flip", "--batch-size", "full"), "--augment does not go with --batch-size"),
        (("--augment", "flip"), "--augment needs --layers"),
        (("--augment", "flip", "--batch-size", 50, "--layers", "dense:8"), "--image-shape H,W,C"),
    ):
        _, err = fastbcd("train", *given, cwd=tmp_path, status=2)
        assert message in err
