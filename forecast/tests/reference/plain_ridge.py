"""What a plain ridge of numpy gets at Wangsuk on the splits of docs/forecast.md: skill over persistence, all rows and floods.

python3 -m venv VENV; VENV/bin/pip install numpy; VENV/bin/python plain_ridge.py DATA/hydrology/wangsuk/hourly.csv.gz
Lagged differences of the three gauges, sums of the two rains, one penalty (a thousandth of the rows); rows with a gap are left out.
"""

import csv
import gzip
import sys

import numpy as np

LAGS = [0, 1, 2, 3, 4, 6, 8, 12]
WINDOWS = [0, 1, 2, 3, 6, 12, 24, 48]
THRESHOLD_M = 0.4

rows = list(csv.DictReader(gzip.open(sys.argv[1], "rt")))
times = [row["time"] for row in rows]
n = len(rows)


def column(name):
    return np.array([float(row[name]) if row[name] not in ("", "NA") else np.nan for row in rows])


def before(values, lag):
    return np.r_[np.full(lag, np.nan), values[: n - lag]]


target = column("wl_jingwan")
columns = []
for gauge in [target, column("wl_naegok"), column("wl_bupyeong")]:
    columns += [before(gauge, a) - before(gauge, b) for a, b in zip(LAGS, LAGS[1:])]
for rain in [column("rain_jingwan"), column("rain_jinjeop")]:
    total = np.nancumsum(rain)
    columns += [before(total, a) - before(total, b) for a, b in zip(WINDOWS, WINDOWS[1:])]
x = np.array(columns).T


def first(day):
    return next(at for at, time in enumerate(times) if time.startswith(day))


splits = {
    "0.6": (int(0.6 * n), int(0.6 * n)),
    "0.8": (int(0.8 * n), int(0.8 * n)),
    "2014-16, 2018": (first("2017-01-01"), first("2018-01-01")),
}
for name, (until, since) in splits.items():
    for lead in (1, 2, 3, 6):
        change = np.r_[target[lead:] - target[: n - lead], np.full(lead, np.nan)]
        at = np.arange(n)
        known = ~np.isnan(change) & ~np.isnan(x).any(axis=1)
        train, test = known & (at + lead < until), known & (at >= since)
        mean, spread = x[train].mean(axis=0), x[train].std(axis=0) + 1e-12
        design = lambda which: np.c_[np.ones(which.sum()), (x[which] - mean) / spread]
        a = design(train)
        penalty = np.eye(a.shape[1]) * 1e-3 * len(a)
        penalty[0, 0] = 0
        line = np.linalg.solve(a.T @ a + penalty, a.T @ change[train])
        left, came = change[test] - design(test) @ line, change[test]
        flood = target[np.flatnonzero(test) + lead] > THRESHOLD_M
        skill = lambda which: 1 - (left[which] ** 2).sum() / (came[which] ** 2).sum()
        print(f"{name:14} {lead} h: all {skill(slice(None)):.2f}, floods {skill(flood):.2f} of {flood.sum()} rows")
