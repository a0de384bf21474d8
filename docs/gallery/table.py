"""
A table with categories and missing values
==========================================

A table has columns of numbers, words, dates, and gaps. `fastbcd.data.TableEncoder` infers what
each column is, and makes numbers of it. It is a transformer of scikit-learn.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from fastbcd import BCDClassifier
from fastbcd.data import TableEncoder

# %%
# In this table of 2000 visitors of a shop, people over 45 buy in Oslo and the others in Rome.
# Every sixth age is missing. Member and date mean nothing.

n, draw = 2000, np.random.default_rng(0)
age, city = draw.integers(18, 80, n).astype(float), draw.choice(["Oslo", "Rome"], n)
bought = np.where((age > 45) == (city == "Oslo"), "yes", "no")
age[draw.random(n) < 1 / 6] = np.nan
table = pandas.DataFrame({"age": age, "city": city, "member": draw.random(n) < 0.5})
days = pandas.to_timedelta(draw.integers(0, 700, n), "D")
table["since"] = pandas.Timestamp("2024-01-01") + days
print(table.head(3))

# %%
# The encoder scales the numbers itself, so the classifier need not do so.

train, test, y_train, y_test = train_test_split(table, bought, random_state=0)
network = BCDClassifier((32, 32), loss="squared", preprocess="none", random_state=0)
pipeline = make_pipeline(TableEncoder(), network).fit(train, y_train)
print(pipeline[0].describe())
known = test["age"].notna()
for name, rows in (("known", known), ("missing", ~known)):
    print(f"age {name}: test accuracy {pipeline.score(test[rows], y_test[rows]):.3f}")

# %%
# How likely are the visitors of the test set to buy, if all of them had the same age and city? The
# points at the left are those without an age.

plt.rc("axes.spines", top=False, right=False)
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
ages = np.arange(20, 81, 4)
for town, look in (("Oslo", "-o"), ("Rome", "--s")):
    changed = [test.assign(city=town, age=float(age)) for age in (np.nan, *ages)]
    means = [pipeline.predict_proba(rows)[:, 1].mean() for rows in changed]
    (line,) = axis.plot(ages, means[1:], look, label=town)
    axis.plot(12, means[0], look[-1], color=line.get_color())
    print(f"{town}: {means[0]:.2f} without an age, {means[1]:.2f} at 20, {means[-1]:.2f} at 80")
axis.set(xlabel="age in years", ylabel="mean probability of buying", ylim=(-0.02, 1.02))
axis.set_xticks([12, *range(20, 81, 10)], ["no age", *range(20, 81, 10)])
axis.axvline(45.5, color="grey", linewidth=0.8)
axis.legend(title="city", loc="center right")
plt.show()

# %%
# The network finds the rule: its lines cross near the age of 45, where the grey line is. Without
# an age it can only know that a little more than half of the visitors are older. :doc:`Tables
# </tables>` says what becomes of each kind of column and of gaps.
