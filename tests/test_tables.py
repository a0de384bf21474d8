"""Tables as people have them: kinds of columns, gaps, new files, bad files, numbers as targets."""

import contextlib
import csv
import io
import json
import sys

import numpy as np
import pytest
from command import fastbcd, history

from fastbcd import InputError, Model
from fastbcd.data import TableEncoder, TableOptions, load, table
from fastbcd.data.table import read_table
from fastbcd.data.tables.column import Column, columns_of
from fastbcd.data.tables.encoding import TableEncoding
from fastbcd.data.tables.kinds import kind_of
from fastbcd.data.tables.target import task_of

SIZE = ["--hidden", "6", "--epochs", "2", "--batch-size", "16"]


def texts(*values, comma=False, name="c"):
    column = np.empty(len(values), object)
    column[:] = values
    return Column(name, column, "t.csv", range(2, 2 + len(values)), comma)


def people(n=120, seed=0):
    """Columns of all kinds, and two targets."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, n) + 0.5
    city = rng.choice(["Oslo", "Rome", "Bern"], n, p=[0.5, 0.4, 0.1])
    member = rng.choice(["yes", "no"], n)
    day = [f"2021-{month:02d}-{1 + i % 28:02d}" for i, month in enumerate(rng.integers(1, 13, n))]
    bought = np.where((age > 50) ^ (city == "Rome"), "yes", "no")
    columns = {
        "id": np.arange(1, n + 1),
        "age": [f"{x}" if i % 4 else "" for i, x in enumerate(age)],
        "city": [x if i % 9 else "?" for i, x in enumerate(city)],
        "member": member,
        "since": day,
        "name": [f"person {i}" for i in range(n)],
        "spent": age * 2 + (member == "yes"),
        "bought": bought,
    }
    return {name: list(map(str, values)) for name, values in columns.items()}


def csv_text(columns, separator=","):
    rows = [columns, *zip(*columns.values(), strict=True)]
    return "".join(separator.join(row) + "\n" for row in rows)


def test_a_table_of_all_kinds_is_trained_on_and_new_files_are_predicted(tmp_path):
    table = people()
    german = {name: [v.replace(".", ",") for v in values] for name, values in table.items()}
    path = tmp_path / "people.csv"
    path.write_text(csv_text(german, ";"), encoding="utf-8-sig")
    command = ["train", path, "--target", "bought", "--column", "spent:ignore"]
    out, _ = fastbcd(*command, *SIZE, "--out", "run", cwd=tmp_path)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "people: 120 rows; predicts bought, 2 classes: no, yes"
    assert lines[1:8] == [
        "id ignore left out: these are row numbers",
        "age number written as 1,5; 30 gaps: the median "
        f"{lines[2].split('median ')[1].split(' ')[0]} put in, and a column that says where",
        "city category Bern, Oslo, Rome; 14 gaps: a category of their own",
        "member bool",
        "since date days and place in week",
        "name ignore left out: its texts are too rare to learn from, all different",
        "spent ignore left out: as asked",
    ]
    assert lines[8].startswith("10 inputs; to change a kind: --column NAME:KIND")
    model = Model.load(tmp_path / "run" / "model.safetensors")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["damping"] == 25.0
    out, _ = fastbcd("predict", "run", cwd=tmp_path)
    assert "people: accuracy " in out
    # Columns in another order, one more, an unknown city, and gaps where training had none.
    new = {name: values[:5] for name, values in reversed(table.items()) if name != "bought"}
    new = {"shoe size": ["44"] * 5} | new
    new["city"][0], new["member"][1], new["since"][2] = "Paris", "", "NA"
    (tmp_path / "new.csv").write_text(csv_text(new))
    out, err = fastbcd("predict", "run", "new.csv", cwd=tmp_path)
    new["age"] = [value.replace(".", ",") for value in new["age"]]
    (tmp_path / "comma.tsv").write_text(csv_text(new, "\t"))
    assert fastbcd("predict", "run", "comma.tsv", cwd=tmp_path)[0] == out
    new["age"][3] = "old"
    (tmp_path / "bad.csv").write_text(csv_text(new, "|"))
    _, bad = fastbcd("predict", "run", "bad.csv", cwd=tmp_path, status=2)
    assert "bad.csv, line 5: column 'age' must hold finite numbers, got 'old'\n" in bad
    new["age"][3] = table["age"][3]
    assert "columns that the model was not trained on are left out: 'shoe size'\n" in err
    predicted = [row["prediction"] for row in csv.DictReader(io.StringIO(out))]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({name: values for name, values in new.items() if name != "shoe size"})
    frame["age"] = [float(value.replace(",", ".") or "nan") for value in new["age"]]
    assert predicted == model.predict(frame).tolist()


def test_numbers_are_predicted_in_their_units_with_their_scores(tmp_path):
    table = people()
    del table["name"], table["id"]
    (tmp_path / "people.csv").write_text(csv_text(table))
    command = ["train", "people.csv", "--target", "spent,age", "--column", "age:number"]
    _, err = fastbcd(*command, *SIZE, cwd=tmp_path, status=2)
    assert "--column: there is no column 'age'; they are city, member, since" in err
    table["age"] = [value or "40" for value in table["age"]]
    (tmp_path / "people.csv").write_text(csv_text(table))
    out, _ = fastbcd(*command[:4], *SIZE, "--out", "run", cwd=tmp_path)
    assert out.startswith("people: 120 rows; predicts spent, age, numbers\n")
    rows = history(tmp_path / "run")
    assert rows[-1]["test_accuracy"] == ""
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["test_r2"] == float(rows[-1]["test_r2"])
    assert f"test R2 {summary['test_r2']:.4f}" in out.splitlines()[-1]
    out, _ = fastbcd("predict", "run", cwd=tmp_path)
    assert float(out.split()[2]) == pytest.approx(summary["test_r2"], abs=1e-5)
    fastbcd("predict", "run", "people.csv", "--out", "p.csv", cwd=tmp_path)
    with (tmp_path / "p.csv").open() as file:
        predicted = list(csv.DictReader(file))
    assert list(predicted[0]) == ["sample", "prediction of spent", "prediction of age"]
    # Mean and loss by their definitions, of the network's own outputs.
    model = Model.load(tmp_path / "run" / "model.safetensors")
    data = load(tmp_path / "people.csv", target="spent,age", table=TableOptions())
    outputs = model.outputs(data.X_test, names=data.feature_names)
    Y = (data.y_test - model.target_shift) / model.target_scale
    assert summary["test_loss"] == pytest.approx(0.5 * np.square(outputs - Y).sum(1).mean())
    np.testing.assert_allclose(data.y_train.mean(axis=0), model.target_shift)


KINDS = [
    (["1", "2.5", "", "NA", "-"], "number"),
    (["1,5", "2", "1.000,25"], ("number", True)),
    (["1,000", "2", "31,000.5"], "number"),
    (["5", "5", ""], "ignore"),
    (["", "NA", "?"], "ignore"),
    ([str(i) for i in range(1, 30)], "ignore"),
    ([str(2 * i) for i in range(1, 30)], "number"),
    (["Yes", "no", "", "no"], "bool"),
    (["TRUE", "False"], "bool"),
    (["none", "yes", "none"], "category"),
    (["2", "4", "more", "more"], "category"),
    (["2020-01-31", "2021-02-01", ""], "date"),
    (["2020-01-31 10:30", "2021-02-01 00:00"], "date"),
    (["31.12.2020", "1.2.2021"], "date"),
    (["12/31/2020", "1/2/2021"], "date"),
    ([f"x{i}" for i in range(40)], "ignore"),
]


@pytest.mark.parametrize(("values", "kind"), KINDS, ids=str)
def test_the_kind_of_a_column_is_inferred(values, kind):
    kind, comma = kind if isinstance(kind, tuple) else (kind, False)
    assert kind_of(texts(*values, comma=comma), min_count=2)[0] == kind


def test_a_number_among_many_that_is_none_is_an_error_unless_the_kind_is_given():
    column = texts(*[str(i * i) for i in range(30)], "about 7")
    with pytest.raises(InputError, match=r"line 32: column 'c' holds numbers, but .* 'about 7';"):
        TableEncoding.fit({"c": column})
    assert TableEncoding.fit({"c": column}, {"c": "number"}).encodings[0].gaps == 1


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "1.5"], "classification"),
        (["0", "1", "1"], "classification"),
        (["0.5", "1"], "regression"),
        ([str(i // 2) for i in range(50)], "classification"),
        ([str(i) for i in range(30)], "regression"),
        ([str(i // 2) for i in range(300)], "regression"),
    ],
)
def test_whether_classes_or_numbers_are_predicted_is_inferred(values, task):
    column = texts(*values)
    assert task_of([column]) == task
    assert task_of([column], prefer_classes=True) == "classification"
    assert task_of([column, column]) == "regression"


def test_each_kind_has_its_definition():
    columns = {
        "n": Column("n", np.array([1.0, 2.0, np.nan, 6.0])),
        "one": Column("one", np.array([0.0, 1.0, 1.0, np.nan])),
        "k": texts("a", "b", "a", "c", name="k"),
        "b": texts("yes", "no", "no", "", name="b"),
        "d": texts("2020-01-01", "2020-01-08", "NA", "2020-01-02", name="d"),
    }
    encoding = TableEncoding.fit(columns, min_count=2)
    assert encoding.names() == [
        *("n", "one", "k = a", "k rare", "b", "d", "d sine of week", "d cosine of week")
    ]
    X = encoding(columns)
    filled = np.array([1.0, 2.0, 2.0, 6.0])
    np.testing.assert_allclose(X[:, 0], (filled - filled.mean()) / filled.std())
    assert X[:, 1].tolist() == [0, 1, 1, 1]
    assert X[:, 2:4].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert X[:, 4].tolist() == [1, 0, 0, 0]
    days = np.array([0.0, 7.0, 1.0, 1.0])
    np.testing.assert_allclose(X[:, 5], (days - days.mean()) / days.std(), atol=1e-9)
    np.testing.assert_allclose(X[0, 6:], X[1, 6:], atol=1e-9)  # the same day of the week
    assert X[2, 6:].tolist() == [0, 0]
    far = columns | {"n": Column("n", np.full(4, 1e9)), "k": texts("new", "", "b", "a")}
    X = encoding(far)
    assert X[:, 0].tolist() == [5, 5, 5, 5]
    assert X[:, 2:4].tolist() == [[0, 1], [0, 0], [0, 1], [1, 0]]
    many = TableEncoding.fit(columns, min_count=1, max_categories=1)
    assert many.encodings[2].levels == ["a"]
    raw = TableEncoding.fit(columns, min_count=1, scaling="none")(columns)
    assert raw[:, 0].tolist() == filled.tolist()


def gains(others=400, zeros=600):
    """A column of which most values are 0, and the rest are 1, 2, and so on."""
    return Column("gain", np.append(np.zeros(zeros), np.arange(1.0, 1.0 + others)))


def test_the_numbers_beside_a_frequent_one_have_bins():
    column = gains()
    encoding = TableEncoding.fit({"gain": column})
    edges = np.array([0.0, 1.0, 100.75, 200.5, 300.25, 400.0])  # 0, and quartiles
    names = ["gain", "gain from 0", "gain from 1", "gain from 100.75", "gain from 200.5"]
    assert encoding.names() == [*names, "gain from 300.25"]
    new = Column("gain", np.array([-3.0, 0.0, 0.25, 70.0, 200.5, 399.0, 401.0, np.nan]))
    X = encoding({"gain": new})
    x = np.nan_to_num(new.values.astype(float))  # the median, 0, in the gap
    # Each bin has the share of x that lies in it, so together they make x.
    np.testing.assert_allclose(X[:, 1:] @ np.diff(edges), np.clip(x, 0.0, 400.0), atol=1e-12)
    assert ((X[:, 1:] >= 0) & (X[:, 1:] <= 1)).all()
    assert (np.diff(X[:, 1:]) <= 0).all(), "a bin is filled before the next one"
    assert "5 bins beside the number" in encoding.encodings[0].describe()
    assert len(TableEncoding.fit({"gain": gains(4000, 6000)}).names()) == 1 + 17
    assert TableEncoder(bins=2).fit(np.array(column.values)[:, None]).encoding_.names() == [
        *("x0", "x0 from 0", "x0 from 1", "x0 from 200.5")
    ]


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (gains(400, 399), {}),
        (gains(199), {}),
        (gains(), {"bins": 0}),
        (gains(), {"scaling": "none"}),
        (Column("gain", np.append(np.zeros(600), np.ones(400))), {}),
        (Column("gain", np.append(np.zeros(600), 1e308 * np.linspace(-1.0, 1.0, 400))), {}),
        (Column("gain", np.append(np.zeros(600), np.arange(1, 401) * 5e-324)), {}),
    ],
)
def test_other_numbers_have_none(column, options):
    with contextlib.suppress(InputError):  # the numbers of one column are too large to scale
        assert TableEncoding.fit({"gain": column}, **options).names() == ["gain"]


def test_a_wide_table_has_no_bins():
    columns = {f"c{k}": Column(f"c{k}", gains().values) for k in range(101)}
    assert TableEncoding.fit(columns).names() == list(columns)
    with pytest.raises(InputError, match="^bins must be"):
        TableEncoding.fit(columns, bins=-1)


def test_an_older_file_has_no_bins():
    encoding = TableEncoding.fit({"gain": gains()})
    stored = json.loads(json.dumps(encoding.state_dict()))
    np.testing.assert_array_equal(
        TableEncoding.from_state_dict(stored)({"gain": gains()}), encoding({"gain": gains()})
    )
    del stored["columns"][0]["edges"]
    older = TableEncoding.from_state_dict(stored)
    assert older.names() == ["gain"]
    np.testing.assert_array_equal(older({"gain": gains()})[:, 0], encoding({"gain": gains()})[:, 0])


def test_an_encoder_is_stored_as_plain_values_and_checked():
    X = columns_of(np.array([["a", 1.5], ["b", None], ["a", 3.0], ["b", 1.0]], object))
    encoding = TableEncoding.fit(X)
    stored = json.loads(json.dumps(encoding.state_dict()))
    np.testing.assert_array_equal(TableEncoding.from_state_dict(stored)(X), encoding(X))
    for change, message in [
        ({"version": 2}, "stored in version 2, and this release reads version 1"),
        ({"columns": [{"kind": "word"}]}, "kind must be one of number, category"),
        ({"columns": [{"kind": "ignore", "name": "x"}]}, "'reason' is missing"),
    ]:
        with pytest.raises(InputError, match=message):
            TableEncoding.from_state_dict(stored | change)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_data_frames_of_every_library_give_the_numbers_of_the_file(library, tmp_path):
    pytest.importorskip(library)
    pandas = pytest.importorskip("pandas")
    table = people()
    del table["id"], table["name"]  # in a file their order would say what they are
    (tmp_path / "t.csv").write_text(csv_text(table))
    frame = pandas.read_csv(tmp_path / "t.csv", na_values=["?"], parse_dates=["since"])
    y, member = frame.pop("bought"), frame["member"] == "yes"
    frame = frame.assign(member=member, city=frame["city"].astype("category"))
    if library == "polars":
        import polars

        gaps = {
            name: column.astype(object).where(column.notna(), None)
            for name, column in frame.items()
        }
        X = polars.DataFrame({name: column.tolist() for name, column in gaps.items()})
    elif library == "pyarrow":
        import pyarrow

        X = pyarrow.Table.from_pandas(frame)
    else:
        X = frame
    encoder = TableEncoder(scaling="none").fit(X, y)
    file = load(tmp_path / "t.csv", target="bought", table=TableOptions(scaling="none"))
    encoded = file.encoding(columns_of(X))
    assert encoder.get_feature_names_out().tolist() == file.feature_names
    changed = encoder.transform(X)
    fill = file.encoding.encodings[0].fill  # a median of other rows
    gaps = frame["age"].isna()
    changed[gaps, 0] = fill
    np.testing.assert_array_equal(changed, encoded)
    assert "age" in encoder.describe()


def test_parquet_is_read_as_csv_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"needs pyarrow.*: pip install 'fastbcd\[tables\]'"):
        load(tmp_path / "t.parquet", target="y")
    monkeypatch.undo()
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    with pytest.raises(InputError, match=r"t.parquet cannot be read as Parquet: "):
        load(tmp_path / "t.parquet", target="y")
    table = people()
    (tmp_path / "t.csv").write_text(csv_text(table))
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    one, two = (
        load(tmp_path / name, target="bought", table=TableOptions())
        for name in ("t.csv", "t.parquet")
    )
    np.testing.assert_array_equal(one.X_train, two.X_train)
    assert one.y_test.tolist() == two.y_test.tolist()


def test_a_table_of_numbers_alone_is_read_as_before(tmp_path):
    rows = "".join(f"{i / 7},{i % 2},{'uv'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    before = load(tmp_path / "t.csv", target="y")
    now = load(tmp_path / "t.csv", target="y", table=TableOptions())
    for name in ("X_train", "y_train", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(now, name), getattr(before, name))
    assert now.encoding is None
    assert now.feature_names == before.feature_names == ["a", "b"]


GOOD = "a,b,y\n" + "1,u,0\n2,v,1\n3,u,0\n" * 5
BAD = [
    (GOOD, "--target Y --quiet", "no column 'Y' (did you mean 'y'?); its columns are a, b, y"),
    (GOOD, "", "--target COLUMN is needed; its columns are a, b, y"),
    (GOOD, "--target y --column c:number", "--column: there is no column 'c'; they are a, b"),
    (GOOD, "--target y --column b:text", "--column must be NAME:KIND with one of number, cat"),
    (GOOD, "--target y --column b", "--column must be NAME:KIND with one of number, category"),
    (GOOD, "--target y --column b:number", "column 'b' of t.csv has no numbers"),
    (GOOD, "--target y --column b:bool", "column 'b' must hold true and false, yes and no, or 1"),
    (GOOD, "--target y --separator ::", "separator must be one character, got '::'"),
    (GOOD, "--target y,y", "--target names the column 'y' twice"),
    (GOOD, "--target y,z", "no column 'z'"),
    (GOOD, "--target y,a --task classification", "classification has one target; several"),
    (GOOD, "--target y,a --loss cross_entropy", "--loss: cross_entropy is for classes; for num"),
    (GOOD, "--target b --task regression", "must hold finite numbers, got 'u'"),
    (GOOD, "--target y --preprocess unit", "--preprocess unit is for images; a table with"),
    (GOOD, "--target a --loss poisson --task regression --column b:ignore --column y:ignore", "no"),
    (
        "a,b,y\n" + ",,0\n,,1\n" * 5,
        "--target y",
        "no column to learn from: a is left out: it has n",
    ),
    ("a,b,y\n" + "1,u,\n2,v,\n" * 5, "--target y", "line 2: the target 'y' is empty"),
    ("a,b,y\n" + "1,u,x\n2,v,x\n" * 5, "--target y", "are all x; at least two classes needed"),
    ("a,a,y\n" + "1,u,0\n2,v,1\n" * 5, "--target y", "column 'a' occurs twice in the header"),
    ("a,b,y\n", "--target y", "has no samples; needed: a header and one row for each sample"),
    (GOOD + "4,u\n", "--target y", "t.csv, line 17: 2 fields where the header has 3"),
    (GOOD + '4,"u,0\n', "--target y", "t.csv cannot be read as CSV: unexpected end of data"),
]


@pytest.mark.parametrize(("content", "options", "message"), BAD, ids=[m for *_, m in BAD])
def test_a_bad_table_is_one_sentence_and_nothing_is_written(tmp_path, content, options, message):
    (tmp_path / "t.csv").write_text(content)
    out, err = fastbcd("train", "t.csv", *options.split(), *SIZE, cwd=tmp_path, status=2)
    assert message in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n3\n",
        "a,b\n1,2\n3,4,5\n6,7\n",
        "a,b\n1,2,3\n4,5\n",
        "a,b\n1\n2\n",
        "sep=;\na;b\n1;2\n3\n",
        "a,b,\n1,2,\n3,4\n",
        "a,b\n1,2,\n3,4,\n",
        "a,b,\n1,2,\n3,4,\n",
        "a,b\n1,2\n\n3,4\n",
        'a,b\n1,2\n"3,4\n',
        "a,b\n",
        "",
    ],
)
def test_a_large_file_is_checked_beforehand_with_the_same_result(text, tmp_path, monkeypatch):
    def result():
        try:
            return read_table(tmp_path / "t.csv")
        except InputError as error:
            return str(error)

    (tmp_path / "t.csv").write_text(text)
    small = result()
    monkeypatch.setattr(table, "LARGE", -1)
    assert result() == small
    if isinstance(small, str) and "fields where" in small and not text.startswith("a,b,"):
        kept = []
        monkeypatch.setattr(table, "read_rows", lambda *given: kept.append(given))
        assert result() == small
        assert not kept, "the rows of a large file are not kept before the error"


def test_options_of_tables_need_a_table(tmp_path):
    _, err = fastbcd("train", "--column", "a:number", cwd=tmp_path, status=2)
    assert err == "fastbcd train: --column needs a table, but DATA is digits\n"
