"""Tables and files of results."""

import gzip

import pytest

from experiments.shared.report import markdown_table, print_rows, write_csv, write_json, write_rows

ROWS = [{"plan": "end:0-1 | edge:1-2", "latency_s": 0.123456}, {"plan": "x", "latency_s": None}]
CSV = "plan,latency_s\nend:0-1 | edge:1-2,0.123456\nx,\n"


def test_markdown_escapes_what_would_end_a_cell():
    assert markdown_table(ROWS).splitlines() == [
        "| plan | latency_s |",
        "| --- | --- |",
        "| end:0-1 \\| edge:1-2 | 0.1235 |",
        "| x | - |",
    ]
    assert markdown_table([]) == ""


def test_a_plan_s_runtime_is_shown_and_not_taken_for_markup(capsys):
    print_rows([{"plan": "end[onnx]:0-1"}], "plans")
    assert "end[onnx]:0-1" in capsys.readouterr().out


def test_csv_plain_and_compressed(tmp_path):
    write_csv(tmp_path / "a.csv", ROWS)
    write_csv(tmp_path / "a.csv.gz", ROWS)
    assert (tmp_path / "a.csv").read_text() == CSV
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).decode() == CSV


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_write_rows_makes_the_folder(tmp_path):
    write_rows(tmp_path / "new" / "folder", "name", ROWS, {"target": 1})
    assert (tmp_path / "new/folder/name.csv").read_text() == CSV
    assert '"target": 1' in (tmp_path / "new/folder/summary.json").read_text()
