"""Tables as programs write them: separators, encodings, packing, row numbers, errors."""

import bz2
import gzip
import lzma
import re

import numpy as np
import pytest

from fastbcd import InputError
from fastbcd.cli.main import main
from fastbcd.data import load

PLAIN = "a,b,y\n1,2.5,u\n-3,4,v\n"
FEATURES, LABELS = [[1.0, 2.5], [-3.0, 4.0]], ["u", "v"]


def read(path, content, **options):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load(str(path), target="y", training=False, **options)


SAME = {
    "semicolons": ("t.csv", PLAIN.replace(",", ";")),
    "tabs": ("t.csv", PLAIN.replace(",", "\t")),
    "tsv": ("T.TSV", PLAIN.replace(",", "\t")),
    "bars": ("t.csv", PLAIN.replace(",", "|")),
    "Excel's first line": ("t.csv", "sep=;\r\n" + PLAIN.replace(",", ";")),
    "blank after each separator": ("t.csv", PLAIN.replace(",", ", ")),
    "separator at the end of lines": ("t.csv", PLAIN.replace("\n", ",\n")),
    "separators at the end of lines": ("t.csv", PLAIN.replace(",", ";").replace("\n", ";;\n")),
    "separator at the end of rows": ("t.csv", "a,b,y\n" + PLAIN[6:].replace("\n", ",\n")),
    "separator at the end of the header": ("t.csv", "a,b,y,\n" + PLAIN[6:]),
    "UTF-8 with a mark": ("t.csv", PLAIN.encode("utf-8-sig")),
    "two marks": ("t.csv", b"\xef\xbb\xbf" + PLAIN.encode("utf-8-sig")),
    "two marks and quotes": (
        *("t.csv", b"\xef\xbb\xbf" + PLAIN.replace("a,b", '"a","b"').encode("utf-8-sig")),
    ),
    "UTF-16": ("t.csv", PLAIN.encode("utf-16")),
    "UTF-16, other order": ("t.csv", b"\xfe\xff" + PLAIN.encode("utf-16-be")),
    "UTF-32": ("t.csv", PLAIN.encode("utf-32")),
    "UTF-16, semicolons, CRLF": (
        *("t.csv", PLAIN.replace(",", ";").replace("\n", "\r\n").encode("utf-16")),
    ),
    "CRLF": ("t.csv", PLAIN.replace("\n", "\r\n")),
    "CR": ("t.csv", PLAIN.replace("\n", "\r")),
    "no last line end": ("t.csv", PLAIN.rstrip()),
    "blank lines": ("t.csv", "\n" + PLAIN.replace("\n", "\n\n  \n")),
    "quotes": ("t.csv", '"a","b","y"\n"1","2.5","u"\n"-3","4","v"\n'),
    "gzip": ("t.csv.gz", gzip.compress(PLAIN.encode(), mtime=0)),
    "GZIP": ("T.CSV.GZ", gzip.compress(PLAIN.encode(), mtime=0)),
    "gzip by content": ("t.csv", gzip.compress(PLAIN.encode(), mtime=0)),
    "gzip by name only": ("t.csv.gz", PLAIN),
    "tsv, gzip": ("t.tsv.gz", gzip.compress(PLAIN.replace(",", "\t").encode(), mtime=0)),
    "bzip2": ("t.csv.bz2", bz2.compress(PLAIN.encode())),
    "xz": ("t.csv.xz", lzma.compress(PLAIN.encode())),
    "upper case": ("T.CSV", PLAIN),
}


@pytest.mark.parametrize("form", SAME)
def test_the_same_table_is_read_from_all_its_forms(tmp_path, form):
    name, content = SAME[form]
    data = read(tmp_path / name, content)
    assert data.name.lower() == "t"
    assert data.feature_names == ["a", "b"]
    assert data.X_test.tolist() == FEATURES
    assert data.y_test.tolist() == LABELS


def test_the_target_may_stand_at_the_end_of_lines_with_a_separator(tmp_path):
    data = read(tmp_path / "t.csv", "a;y;\n1,5;u;\n2;v;\n".replace("1,5", "1.5"))
    assert data.X_test.tolist() == [[1.5], [2.0]]


def test_names_and_labels_with_separators_and_line_ends_are_kept(tmp_path):
    data = read(tmp_path / "t.csv", 'height, cm;weight;y\n1;2;"u;\nü"\n3;4;v\n')
    assert data.feature_names == ["height, cm", "weight"]
    assert data.y_test.tolist() == ["u;\nü", "v"]


@pytest.mark.parametrize(
    ("header", "prefix", "named"),
    [
        ("", "{i},", "without a name"),
        ("Unnamed: 0", "{i},", "'Unnamed: 0'"),
        ("Unnamed: 0.1,Unnamed: 0", "{i},{i},", "'Unnamed: 0.1'"),
    ],
)
def test_row_numbers_of_pandas_are_left_out_with_a_word(tmp_path, caplog, header, prefix, named):
    rows = [prefix.format(i=i) + f"{i},u\n{prefix.format(i=i)}{i},v\n" for i in range(10)]
    path = tmp_path / "t.csv"
    path.write_text(f"{header},a,y\n" + "".join(rows))
    data = load(str(path), target="y")
    assert data.feature_names == ["a"]
    assert data.X_train.shape == (16, 1)
    assert f"the first column, {named}, is taken for row numbers and left out" in caplog.text
    kept = load(str(path), target="y", index=True)
    assert kept.feature_names == [*header.split(","), "a"]


def test_row_numbers_can_be_the_target(tmp_path):
    data = read(tmp_path / "t.csv", "y,a\n0,1\n1,2\n")
    assert data.y_test.tolist() == [0, 1]
    path = tmp_path / "u.csv"
    path.write_text("Unnamed: 0,a\n0,1\n1,2\n" * 1)
    assert load(str(path), target="Unnamed: 0", training=False).y_test.tolist() == [0, 1]


def test_a_model_that_was_trained_on_row_numbers_still_gets_them(tmp_path, capsys):
    from fastbcd import Model

    path, run = tmp_path / "t.csv", tmp_path / "run"
    path.write_text(",a,y\n" + "".join(f"{i},{i % 5},{'uv'[i % 2]}\n" for i in range(20)))
    quick = ["--epochs", "1", "--hidden", "4", "--quiet"]
    assert main(["train", str(path), "--target", "y", "--out", str(run), *quick]) == 0
    assert Model.load(run / "model.safetensors").feature_names == ["a"]
    # As an earlier version would have written it.
    named = tmp_path / "named.csv"
    named.write_text(path.read_text().replace(",a,y", "number,a,y"))
    old = tmp_path / "old"
    assert main(["train", str(named), "--target", "y", "--out", str(old), *quick]) == 0
    model = Model.load(old / "model.safetensors")
    model.feature_names = ["", "a"]
    model.save(old / "model.safetensors")
    assert main(["predict", str(old), str(path)]) == 0
    assert "on 20 samples" in capsys.readouterr().out


WRONG = [
    (
        "a;b;y\n1,5;2;u\n",
        "line 2: column 'a' must hold numbers, got '1,5': a decimal point is need",
    ),
    ('a,b,y\n"1,000",2,u\n', "got '1,000': a decimal point is needed, not a comma"),
    ("a,b,y\n1,2,u\n3,4\n", "line 3: 2 fields where the header has 3"),
    ("a,b,y\n\n1,2,u\n3,4,5,v\n", "line 4: 4 fields where the header has 3"),
    ("a,b,y\n1,2,u,\n3,4,v\n", "line 2: 4 fields where the header has 3"),
    ('a,y\n1,"u\nx"\n2\n', "line 4: 1 fields where the header has 2"),
    ("a,a,y\n1,2,u\n", "column 'a' occurs twice in the header"),
    ("a,,y\n1,2,u\n", "column 2 of 3 has no name in the header"),
    ("a,y\nNA,u\n", "line 2: column 'a' must hold numbers, got 'NA', which is a missing value"),
    ("a,y\n,u\n", "got '', which is a missing value: fill it in, or leave the row out"),
    ("a,y\n?,u\n", "got '[?]', which is a missing value"),
    (PLAIN + ",,\n", "line 4: column 'a' must hold numbers, got '', which is a missing value"),
    ('a,y\n1,"u\n2,v\n', "cannot be read as CSV: unexpected end of data"),
    (PLAIN.encode("utf-16-le"), "it has zero bytes, .* UTF-16 without a byte-order mark, save it"),
    (PLAIN.replace("u", "ü").encode("latin-1"), "it is not utf-8 text .*; save it as UTF-8"),
    (PLAIN.encode("utf-16")[:-1], "it is not utf-16 text .truncated data.; save it as UTF-8"),
    (b"PK\x03\x04 workbook", "is not a CSV file but a zip archive or an Excel workbook"),
    (
        gzip.compress(PLAIN.encode() * 99, mtime=0)[:-9],
        "cannot be read as CSV: Compressed file end",
    ),
    (lzma.compress(PLAIN.encode())[:-9], "cannot be read as CSV: Compressed file ended"),
    (b"", "has no samples"),
]


@pytest.mark.parametrize(("content", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path / "t.csv", content)
    assert "t.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_long_table_is_read_by_the_separator_of_its_beginning(tmp_path):
    rows = "".join(f"{i};{i % 7}.5;{'uv'[i % 2]}\n" for i in range(9000))
    data = read(tmp_path / "t.csv", "a;b;y\n" + rows)
    assert data.X_test.shape == (9000, 2)
    np.testing.assert_array_equal(data.X_test[:, 0], np.arange(9000))


def test_the_target_of_a_table_may_be_named_whatever_its_ending(tmp_path, capsys):
    path = tmp_path / "TABLE.TSV"
    path.write_text("a\ty\n" + "1\tu\n2\tv\n" * 10)
    assert main(["train", str(path), "--epochs", "1", "--out", str(tmp_path / "run")]) == 2
    assert re.search("--target COLUMN is needed; its columns are a, y", capsys.readouterr().err)
