"""``precision="bf16"`` on the processor: products of rounded factors, and mini-batches of them."""

import numpy as np
import pytest
from batches import digits, random_data
from bfloat16 import count_calls, rounded
from rank_threads import Part
from stopping import StopAfter

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    kernels,
    one_hot,
    resume,
    warmup,
)
from fastbcd.callbacks import SaveCheckpoint
from fastbcd.cli.main import main
from fastbcd.devices.rounded_products import NARROW, RoundedProducts
from fastbcd.kernels import bf16

needs_instructions = pytest.mark.skipif(
    not bf16.AVAILABLE, reason="the processor has no AVX512-BF16, or nothing is compiled"
)
NAMES = ["product", "product_transposed", "transposed_product"]
WIDTHS = (64, 96, 80, 10)


def product(name, A, B, out=None, scale=1.0, keep=0.0):
    """``scale A B + keep out`` by the kernel `name`, with weights that are a part of a matrix."""
    out = np.full((len(A), B.shape[1]), np.nan, np.float32) if out is None else out.copy()
    if name == "product":
        B = np.pad(B, ((0, 0), (0, 1)), constant_values=np.nan)[:, :-1]
    elif name == "product_transposed":
        B = np.ascontiguousarray(B.T)
    else:
        A = np.pad(A.T, ((0, 0), (0, 1)), constant_values=np.nan)[:, :-1]
    (m, n), k = out.shape, B.shape[1 if name == "product_transposed" else 0]
    words = bf16.work_words(*((n, k, m) if name == "product_transposed" else (m, k, n)))
    work = np.full(words, 2**32 - 1, np.uint32)  # each word is a pair of NaN
    getattr(bf16, name)(out, A, B, scale, keep, work)
    return out


def factors(m, k, n, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n))]


@needs_instructions
@pytest.mark.parametrize("name", NAMES)
def test_a_product_is_that_of_the_rounded_factors(name):
    for m, k, n in ((1, 1, 1), (8, 32, 32), (13, 7, 33), (9, 601, 75)):
        A, B, before = factors(m, k, n)
        expected = rounded(A) @ rounded(B)
        size = np.abs(rounded(A)) @ np.abs(rounded(B))
        assert (np.abs(product(name, A, B) - expected) <= 1e-6 * size).all(), (m, k, n)
        found = product(name, A, B, before, 1.5, -0.5)
        error = np.abs(found - (1.5 * expected - 0.5 * before))
        assert (error <= 1e-6 * (1.5 * size + np.abs(before))).all(), (m, k, n)


@needs_instructions
@pytest.mark.parametrize("name", NAMES)
def test_factors_are_rounded_to_the_nearest_and_ties_to_even(name):
    A, _, _ = factors(41, 71, 1)
    # Numbers halfway between two of 8 digits, then just below and just above.
    steps = np.arange(2 * 71, dtype=np.float32).reshape(2, 71)
    A[:2] = 1 + (2 * steps + 1) / 256
    A[2:4] = np.nextafter(A[:2], np.float32(0))
    A[4:6] = np.nextafter(A[:2], np.float32(9))
    np.testing.assert_array_equal(product(name, A, np.eye(71, dtype=np.float32)), rounded(A))
    np.testing.assert_array_equal(product(name, np.eye(41, dtype=np.float32), A), rounded(A))


@needs_instructions
@pytest.mark.parametrize("name", NAMES)
def test_nan_and_infinity_stay_in_their_rows_and_columns(name):
    A, B, _ = factors(20, 69, 40)
    A, B = np.abs(A), np.abs(B)
    # This NaN would become 0 if its bits were rounded like those of a number.
    A[3, 2], A[5, 68] = np.uint32(0x7FFFFFFF).view(np.float32), np.inf
    B[7, 33] = -np.inf
    found = product(name, A, B)
    assert np.isnan(found[3]).all()
    assert np.isnan(found[5, 33])
    assert (np.delete(found[5], 33) == np.inf).all()
    others = np.delete(found, [3, 5], axis=0)
    assert (others[:, 33] == -np.inf).all()
    assert np.isfinite(np.delete(others, 33, axis=1)).all()


@needs_instructions
def test_only_layers_that_are_wide_on_both_sides_are_rounded():
    rounding = RoundedProducts()
    for name in NAMES:
        for width, same in ((NARROW - 1, True), (NARROW, False)):
            A, B, out = factors(70, 70, width + (name == "transposed_product"))  # and the bias
            if name == "product_transposed":
                A, B, out = factors(70, width + 1, 70)
                B = np.ascontiguousarray(B.T)
            ours, exact = out.copy(), out.copy()
            getattr(rounding, name)(ours, A, B, 1.0, 0.0)
            getattr(kernels, name)(exact, A, B, 1.0, 0.0)
            assert np.array_equal(ours, exact) == same, (name, width)
    assert rounding.squared_norm is kernels.squared_norm


@needs_instructions
def test_rows_that_are_not_contiguous_are_refused_as_in_float32():
    A, B, out = factors(70, 70, 140)
    for library in (kernels, RoundedProducts()):
        with pytest.raises(ValueError, match="rows must be contiguous"):
            library.product(out[:, :70], A, B[:, ::2], 1.0, 0.0)


def fitted(precision, threads=1, n=600, **options):
    X, Y = random_data(n, d=WIDTHS[0], k=WIDTHS[-1])
    solver = MiniBatchThreeSplitting(
        Problem(WIDTHS), 300, precision=precision, n_threads=threads, tile_rows=150, **options
    )
    return solver, X, Y


@needs_instructions
def test_the_number_of_threads_changes_no_bit_and_the_precision_does():
    weights = []
    for precision, threads in (("bf16", 1), ("bf16", 2), ("float32", 1)):
        solver, X, Y = fitted(precision, threads)
        weights.append(solver.fit(X, Y, max_iter=2).state.W[1:])
    for l, (one, two, exact) in enumerate(zip(*weights, strict=True)):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, exact), l
        np.testing.assert_allclose(one, exact, rtol=0, atol=0.1)


@pytest.fixture
def called(monkeypatch):
    """How often each product was called."""
    return count_calls(monkeypatch, bf16, NAMES)


@needs_instructions
def test_every_product_of_a_wide_layer_is_rounded(called):
    solver, X, Y = fitted("bf16", n=300)
    state = solver.init(X, Y)
    assert not any(called.values())
    solver.step(state)
    # Two tiles, two wide layers and one of them above another; the first batch takes two passes.
    tiles = called["product"]
    assert tiles in (2, 4, 6, 8)
    assert called == {
        "product": tiles,
        "product_transposed": 2 * tiles,
        "transposed_product": 2,
    }


@needs_instructions
def test_ranks_that_share_the_samples_round_too(called):
    solver, X, Y = fitted("bf16", n=300)
    state = solver.init(X, Y)
    solver.device.ranks = Part(0, 2)
    solver.step(state)
    assert called["transposed_product"] == 2


@needs_instructions
def test_warmup_compiles_these_products(called):
    warmup(MiniBatchThreeSplitting(Problem((300, 200, 100, 10)), precision="bf16"))
    assert all(called.values())


@needs_instructions
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path):
    solver, X, Y = fitted("bf16")
    path = tmp_path / "checkpoint.safetensors"
    whole = solver.fit(X, Y, max_iter=3)
    solver.fit(X, Y, max_iter=3, callbacks=[StopAfter(1), SaveCheckpoint(path)])
    again = resume(path, fitted("bf16")[0], X, Y)
    for one, two in zip(whole.state.W[1:], again.state.W[1:], strict=True):
        np.testing.assert_array_equal(one, two)


@needs_instructions
def test_digits_are_learnt_as_well_as_in_float32():
    X, y, X_test, y_test = digits()
    accuracy = {}
    for precision in ("float32", "bf16"):
        solver = MiniBatchThreeSplitting(Problem((64, 96, 80, 10)), precision=precision)
        network = solver.fit(X, one_hot(y, 10), max_iter=10).network
        accuracy[precision] = np.mean(network.forward(X_test).argmax(1) == y_test)
    assert accuracy["bf16"] > accuracy["float32"] - 0.01


@needs_instructions
@pytest.mark.parametrize("solver", [ThreeSplitting, TwoSplitting])
def test_full_batches_refuse_it_on_the_processor(solver):
    with pytest.raises(InputError, match="precision: bf16 on the processor is for mini-batches"):
        solver(Problem(WIDTHS), precision="bf16")


@needs_instructions
def test_the_command_line_takes_it_and_names_it_where_it_does_not(tmp_path, capsys):
    command = ["train", "--precision", "bf16", "--hidden", "64", "--epochs", "1"]
    assert main([*command, "--out", str(tmp_path / "batches")]) in (0, None)
    capsys.readouterr()
    assert main([*command, "--batch-size", "full", "--out", str(tmp_path / "full")]) == 2
    assert "precision: bf16 on the processor is for mini-batches" in capsys.readouterr().err


def test_a_processor_without_the_instructions_says_so(monkeypatch, capsys):
    monkeypatch.setattr(bf16, "AVAILABLE", False)
    with pytest.raises(InputError, match="precision: bf16 on the processor needs .*AVX512-BF16"):
        MiniBatchThreeSplitting(Problem(WIDTHS), precision="bf16")
    main(["info"])
    assert "products in bf16    no: they need AVX512-BF16" in capsys.readouterr().out


def test_other_types_and_roundings_are_refused():
    with pytest.raises(InputError, match="precision: bf16 is for float32 products"):
        MiniBatchThreeSplitting(Problem(WIDTHS), precision="bf16", dtype="float64")
    with pytest.raises(InputError, match="precision: tf32 is for float32 products on a GPU"):
        MiniBatchThreeSplitting(Problem(WIDTHS), precision="tf32")
