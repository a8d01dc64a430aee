"""Writes golden.json: what numpy, scipy and scikit-learn say of small inputs, which tests/golden.rs holds the crate to.

python3 -m venv VENV; VENV/bin/pip install numpy scikit-learn; VENV/bin/python golden.py
Made with numpy 2, scikit-learn 1.9.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import nnls
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

rng = np.random.default_rng(20261127)


def short(values):
    return [float(f"{v:.10g}") for v in np.ravel(values)]


n, p = 400, 4
x = np.round(rng.normal(size=(n, p)), 2)
y = np.round(2.0 * x[:, 0] - x[:, 1] + np.where(x[:, 2] > 0.3, 1.5, 0.0) * x[:, 0] + 0.2 * rng.normal(size=n), 4)
w = np.round(rng.uniform(0.5, 3.0, size=n), 2)

ridges = []
for penalty in (0.0, 3.0, 50.0):
    fitted = Ridge(alpha=penalty, solver="cholesky").fit(x, y, sample_weight=w)
    ridges.append({"penalty": penalty, "intercept": fitted.intercept_, "slopes": short(fitted.coef_)})

trees = []
for loss, name in (("squared_error", "squared"), ("absolute_error", "absolute")):
    fitted = HistGradientBoostingRegressor(
        loss=loss,
        learning_rate=0.1,
        max_iter=25,
        max_leaf_nodes=8,
        max_depth=None,
        min_samples_leaf=20,
        l2_regularization=0.0,
        max_bins=255,
        early_stopping=False,
    ).fit(x, y)
    trees.append({"loss": name, "values": short(fitted.predict(x))})

# Blend: weights >= 0 of three candidates, a hundredth of the mean diagonal added.
candidates = np.column_stack([y * 0.6 + rng.normal(size=n), y * 0.9 + 0.5 * rng.normal(size=n), rng.normal(size=n)])
candidates = np.round(candidates, 4)
a = candidates.T @ candidates
extra = 0.01 * np.trace(a) / 3
stacked = np.vstack([candidates, np.sqrt(extra) * np.eye(3)])
weights, _ = nnls(stacked, np.concatenate([y, np.zeros(3)]))

# Holt's damped trend, three steps ahead.
series = np.round(np.cumsum(rng.normal(size=60)) + 50, 3)
level_share, trend_share, damping, horizon = 0.9, 0.3, 0.8, 3
level, trend, changes = series[0], 0.0, []
for i, value in enumerate(series):
    if i:
        new = level_share * value + (1 - level_share) * (level + damping * trend)
        trend = trend_share * (new - level) + (1 - trend_share) * damping * trend
        level = new
    changes.append(level + sum(damping**k for k in range(1, horizon + 1)) * trend - value)

quantiles = {"of": short(y[:37]), "levels": [0.02, 0.1, 0.5, 0.77, 0.98]}
quantiles["values"] = short(np.quantile(y[:37], quantiles["levels"]))

out = {
    "x": short(x),
    "y": short(y),
    "w": short(w),
    "p": p,
    "ridges": ridges,
    "trees": trees,
    "blend": {"candidates": short(candidates), "weights": short(weights)},
    "damped": {"series": short(series), "changes": short(changes)},
    "quantiles": quantiles,
}
Path(__file__).with_name("golden.json").write_text(json.dumps(out) + "\n")
