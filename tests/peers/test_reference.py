"""The published procedure in PyTorch, which the comparison runs: it is that of the formulas."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")


def relu(u):
    return np.maximum(u, 0)


def prox_value(u, a, c, q):
    return (a - relu(u)) ** 2 + q * (u - c) ** 2


@pytest.mark.parametrize("q", [0.5, 1.0, 6.0])
def test_relu_prox_of_the_reference_is_the_minimiser_of_a_dense_grid(module, q):
    a, c = np.random.default_rng(0).normal(size=(2, 300))
    u = module("published").relu_prox(torch.from_numpy(a), torch.from_numpy(c), q).numpy()
    grid = np.linspace(-5, 5, 20_001)
    values = prox_value(grid[:, None], a, c, q)
    assert (prox_value(u, a, c, q) <= values.min(axis=0) + 1e-12).all()
    np.testing.assert_allclose(u, grid[values.argmin(axis=0)], atol=6e-4)


def iterate(W, b, U, V, Y, gamma, rho, alpha):
    """The paper's Algorithm 2 in float64, samples in columns, bias after weights."""
    L = len(W) - 1

    def weights(l):
        system = alpha * np.eye(len(V[l - 1])) + rho * V[l - 1] @ V[l - 1].T
        W[l] = np.linalg.solve(system, (alpha * W[l] + rho * (U[l] - b[l]) @ V[l - 1].T).T).T
        rest = (U[l] - W[l] @ V[l - 1]).sum(axis=1, keepdims=True)
        b[l] = (alpha * b[l] + rho * rest) / (alpha + rho * Y.shape[1])

    V[L] = (Y + gamma * U[L] + alpha * V[L]) / (1 + gamma + alpha)
    U[L] = (gamma * V[L] + rho * (W[L] @ V[L - 1] + b[L])) / (gamma + rho)
    weights(L)
    for l in range(L - 1, 0, -1):
        above = W[l + 1]
        system = rho * above.T @ above + gamma * np.eye(above.shape[1])
        pull = rho * above.T @ (U[l + 1] - b[l + 1]) + gamma * relu(U[l])
        V[l] = np.linalg.solve(system, pull)
        q = (rho + alpha) / gamma
        c = (rho * (W[l] @ V[l - 1] + b[l]) + alpha * U[l]) / (rho + alpha)
        upper, lower = relu((V[l] + q * c) / (1 + q)), np.minimum(c, 0)
        better = prox_value(upper, V[l], c, q) < prox_value(lower, V[l], c, q)
        U[l] = np.where(better, upper, lower)
        weights(l)


def objective(W, b, U, V, Y, gamma, rho):
    L = len(W) - 1
    total = np.sum((V[L] - Y) ** 2) / 2
    for l in range(1, L + 1):
        total += gamma / 2 * np.sum((V[l] - (relu(U[l]) if l < L else U[l])) ** 2)
        total += rho / 2 * np.sum((U[l] - W[l] @ V[l - 1] - b[l]) ** 2)
    return total


def test_an_iteration_of_the_reference_is_that_of_the_formulas_in_float64(module):
    rng = np.random.default_rng(1)
    X = rng.random((7, 60)).astype(np.float32)
    Y = np.eye(3, dtype=np.float32)[:, rng.integers(3, size=60)]
    gamma, rho, alpha = 1.0, 0.5, 2.0
    solver = module("published").PublishedBCD((7, 9, 8, 3), gamma, rho, alpha)
    blocks = solver.start(torch.from_numpy(X))
    # Weights of 0.01 leave hidden states nearly constant; these make both sides of ReLU occur.
    for l in range(1, 4):
        blocks.W[l] *= 50
        blocks.U[l] = blocks.W[l] @ blocks.V[l - 1] + blocks.b[l]
        blocks.V[l] = torch.relu(blocks.U[l]) if l < 3 else blocks.U[l].clone()
    assert all(0.1 < (blocks.U[l] > 0).float().mean() < 0.9 for l in (1, 2))
    expected = {
        name: [None if array is None else array.numpy().astype(np.float64) for array in arrays]
        for name, arrays in vars(blocks).items()
    }
    before = objective(**expected, Y=Y, gamma=gamma, rho=rho)
    assert solver.objective(blocks, torch.from_numpy(Y)) == pytest.approx(before, rel=1e-5)

    solver.iterate(blocks, torch.from_numpy(Y))
    iterate(**expected, Y=Y, gamma=gamma, rho=rho, alpha=alpha)
    for name, arrays in expected.items():
        for l in range(1, 4):
            got = getattr(blocks, name)[l].numpy()
            np.testing.assert_allclose(got, arrays[l], atol=2e-5, err_msg=f"{name}_{l}")
    after = objective(**expected, Y=Y, gamma=gamma, rho=rho)
    assert solver.objective(blocks, torch.from_numpy(Y)) == pytest.approx(after, rel=1e-4)
    assert after < before

    out = X
    for l in range(1, 4):
        out = expected["W"][l] @ out + expected["b"][l]
        out = relu(out) if l < 3 else out
    assert (solver.predict(blocks, torch.from_numpy(X)).numpy() == out.argmax(axis=0)).all()
