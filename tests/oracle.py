"""Algorithms 2 and 3 in plain float64 NumPy: slow, obvious, without code of the package.

    F = w sum_i 1/2 |V_L - Y|^2 + sum_l r_l(W_l) + unit sum_l s_l(V_l)
        + gamma/2 sum_l |V_l - S_l V_{l-1} - act_l(U_l)|^2
        + rho/2 sum_l |U_l - V^_{l-1} W_l^T|^2

The weights w, gamma, rho, unit and the alphas are effective ones: already divided by n for
reduction "mean". With weights c of samples everything that belongs to sample i, including proximal
terms, counts c_i times, and n is their sum. The activation is the slope of leaky ReLU on the
negative side, or a name, or a tuple with the coefficients of a polynomial; the last layer is
linear. Blocks are solved for piecewise linear activations and ridges (r_l, s_l) only. For the
others the oracle only evaluates the objective; that of Algorithm 1 is the case
``U_l = V^_{l-1} W_l^T``.
"""

import numpy as np


def act(u, slope):
    """Leaky ReLU of a given slope, a smooth activation by name, a polynomial's values."""
    if isinstance(slope, tuple):
        return np.polynomial.polynomial.polyval(u, slope)
    if isinstance(slope, str):
        return {
            "sigmoid": lambda u: 1 / (1 + np.exp(-np.clip(u, -700, None))),
            "tanh": np.tanh,
            "softplus": lambda u: np.logaddexp(0, u),
        }[slope](u)
    return np.where(u > 0, u, slope * u)


def penalty_value(penalty, W):
    """r(W) by the name of the penalty."""
    p = penalty.parameters
    # A bound that float32 cannot hold may be its nearest float.
    low, high = min(p[0], float(np.float32(p[0]))), max(p[-1], float(np.float32(p[-1])))
    return {
        "none": lambda: 0.0,
        "ridge": lambda: p[0] / 2 * np.sum(W**2),
        "l1": lambda: p[0] * np.sum(np.abs(W)),
        "elastic_net": lambda: np.sum(p[0] * (p[1] * np.abs(W) + (1 - p[1]) / 2 * W**2)),
        "nonnegative": lambda: 0.0 if (W >= 0).all() else np.inf,
        "box": lambda: 0.0 if (low <= W).all() and (high >= W).all() else np.inf,
    }[penalty.name]()


def with_ones(V):
    return np.hstack([V, np.ones((len(V), 1))])


def prox_activation(a, q, c, slope):
    """Global argmin_u (a - act(u))^2 + q (u - c)^2, by comparing all candidates."""
    candidates = np.stack(
        [
            np.maximum(0, (a + q * c) / (1 + q)),
            np.minimum(0, (slope * a + q * c) / (slope**2 + q)),
        ]
    )
    values = (a - act(candidates, slope)) ** 2 + q * (candidates - c) ** 2
    return np.take_along_axis(candidates, values.argmin(axis=0)[None], axis=0)[0]


class Oracle:
    """State and one iteration; W, V, U are lists indexed 0..L as in the paper."""

    def __init__(self, W, X, Y, S, slope, w, gamma, rho, alpha_states, alpha_weights, r, s, c=None):
        self.c = np.ones((len(X), 1)) if c is None else np.asarray(c, float)[:, None]
        self.W, self.Y, self.slope = [None, *W], Y, slope
        self.S = [None, *S]
        self.w, self.gamma, self.rho = w, gamma, rho
        self.r, self.s = [None, *r], [None, *s]
        self.alpha_states, self.alpha_weights = alpha_states, alpha_weights
        self.L = len(W)
        self.V, self.U = [X], [None]
        for l in range(1, self.L + 1):
            self.U.append(with_ones(self.V[l - 1]) @ self.W[l].T)
            self.V.append(self.S[l] * self.below(l) + act(self.U[l], self.slope_of(l)))

    def slope_of(self, l):
        return 1.0 if l == self.L else self.slope

    def below(self, l):
        """V_{l-1} for a residual layer, else 0."""
        return self.V[l - 1] if self.S[l] else 0.0

    def objective(self):
        c = self.c
        F = self.w * 0.5 * np.sum(c * (self.V[self.L] - self.Y) ** 2)
        for l in range(1, self.L + 1):
            F += penalty_value(self.r[l], self.W[l][:, :-1])
            for i, V in enumerate(self.V[l]):
                F += self.w * c[i, 0] * penalty_value(self.s[l], V)
            target = self.below(l) + act(self.U[l], self.slope_of(l))
            F += self.gamma / 2 * np.sum(c * (self.V[l] - target) ** 2)
            misses = self.U[l] - with_ones(self.V[l - 1]) @ self.W[l].T
            F += self.rho / 2 * np.sum(c * misses**2)
        return F

    def update_V(self, l):
        gamma, rho, L = self.gamma, self.rho, self.L
        if l == L:
            a, ridge = self.alpha_states, self.w * self.s[L].ridge
            target = self.below(L) + self.U[L]
            total = self.w * self.Y + gamma * target + a * self.V[L]
            self.V[L] = total / (self.w + gamma + a + ridge)
            return
        A, bias = self.W[l + 1][:, :-1], self.W[l + 1][:, -1]
        # Both activation couplings in which V_l occurs: its own, and S_{l+1}'s.
        target = gamma * (self.below(l) + act(self.U[l], self.slope))
        hessian = (gamma + self.w * self.s[l].ridge) * np.eye(A.shape[1]) + rho * A.T @ A
        if self.S[l + 1]:
            skip = self.V[l + 1] - act(self.U[l + 1], self.slope_of(l + 1))
            target = target + gamma * skip
            hessian = hessian + gamma * np.eye(A.shape[1])
        for i in range(len(self.V[l])):
            right = target[i] + rho * A.T @ (self.U[l + 1][i] - bias)
            self.V[l][i] = np.linalg.solve(hessian, right)

    def update_U(self, l):
        gamma, rho = self.gamma, self.rho
        b = with_ones(self.V[l - 1]) @ self.W[l].T
        if l == self.L:
            self.U[l] = (gamma * (self.V[l] - self.below(l)) + rho * b) / (gamma + rho)
            return
        alpha = self.alpha_states
        c = (rho * b + alpha * self.U[l]) / (rho + alpha)
        a = self.V[l] - self.below(l)
        self.U[l] = prox_activation(a, (rho + alpha) / gamma, c, self.slope)

    def update_W(self, l):
        V = with_ones(self.V[l - 1])
        penalised = np.ones(V.shape[1])
        penalised[-1] = 0.0
        alpha = self.alpha_weights
        hessian = self.rho * V.T @ (self.c * V) + alpha * np.eye(V.shape[1])
        hessian += self.r[l].ridge * np.diag(penalised)
        right = self.rho * self.U[l].T @ (self.c * V) + alpha * self.W[l]
        self.W[l] = np.linalg.solve(hessian, right.T).T

    def blocks(self):
        """(name, update) in the order of one iteration."""
        for l in range(self.L, 0, -1):
            yield f"V_{l}", lambda l=l: self.update_V(l)
            yield f"U_{l}", lambda l=l: self.update_U(l)
            yield f"W_{l}", lambda l=l: self.update_W(l)

    def step(self):
        for _, update in self.blocks():
            update()


def oracle_of(solver, state, sample_weight=None):
    """The oracle at the solver's state, in float64, with the same effective weights.

    `sample_weight` are those that the solver was given, for samples of the state.
    """
    problem = solver.problem
    n = state.n if sample_weight is None else np.sum(sample_weight)
    unit = 1.0 / n if problem.reduction == "mean" else 1.0
    hidden = problem.activations[0]
    slope = {
        "relu": 0.0,
        "linear": 1.0,
        "leaky_relu": hidden.parameters[0],
        "polynomial": hidden.parameters,
    }.get(hidden.name, hidden.name)
    oracle = Oracle(
        [W.astype(np.float64) for W in state.W[1:]],
        state.X.astype(np.float64),
        state.Y.astype(np.float64),
        S=problem.residual,
        slope=slope if len(problem.activations) > 1 else 1.0,
        w=unit,
        gamma=problem.gamma * unit,
        rho=problem.rho * unit,
        alpha_states=solver.alpha * unit,
        alpha_weights=solver.alpha_weights,
        r=problem.weight_penalties,
        s=problem.state_penalties,
        c=sample_weight,
    )
    oracle.V[1:] = [V.astype(np.float64) for V in state.V[1:]]
    for l in range(1, oracle.L + 1):
        if state.U[l] is None:
            oracle.U[l] = with_ones(oracle.V[l - 1]) @ oracle.W[l].T
        else:
            oracle.U[l] = state.U[l].astype(np.float64)
    return oracle
