"""The `files` source: notations of numbers, separators, encodings, packings, folders, zips and URLs."""

from __future__ import annotations

import gzip
import io
import json
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pyarrow as pa
import pytest

from quantum_training.sources import SourceError, source_from

FAR = pd.Timestamp("2100-01-01", tz="UTC")
LONG_AGO = pd.Timestamp("1970-01-01", tz="UTC")
HEADER = "open_time,open,high,low,close,volume\n"
NUMBERED = {ours: str(n) for n, ours in enumerate(["open_time", "open", "high", "low", "close", "volume"])}
LINES = "2024-01-02,1.5,2,0.5,1.25,1000\n2024-01-03,1.25,2.5,1,2,2000\n"
ROWS = [[1.5, 2, 0.5, 1.25, 1000], [1.25, 2.5, 1, 2, 2000]]


def read(path, symbol="S", timeframe="1d", **options) -> pd.DataFrame:
    return source_from({"kind": "files", "path": str(path), **options}).fetch(symbol, timeframe, LONG_AGO, FAR, FAR)


def values(bars: pd.DataFrame) -> list[list[float]]:
    return bars.to_numpy().tolist()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (HEADER + LINES, {}),
        ("\ufeff" + HEADER + LINES, {}),
        ((HEADER + LINES).replace(",", ";"), {}),
        ((HEADER + LINES).replace(",", "\t").replace("\n", "\r\n"), {}),
        ((HEADER + LINES).replace(",", "|"), {"separator": "|"}),
        (LINES, {"header": False, "columns": NUMBERED}),
        ("A banner, with commas\n\n" + HEADER + LINES, {"skip_rows": 1}),
        (HEADER + LINES.replace("\n", ",\n"), {}),
        (HEADER + LINES.replace("1000", '"1,000"').replace("2000", '"2,000"'), {}),
        (HEADER + LINES.replace("1000", "1K").replace("2000", "0.002M"), {}),
        (HEADER + LINES.replace("1.5", "$1.5").replace("1.25", "1.25%").replace("1000", " 1 000 "), {}),
        (
            "Datum;Zeit;Eröffnung;Hoch;Tief;Schluss;Volumen\n"
            "02.01.2024;00:00;1,5;2,0;0,5;1,25;1.000\n03.01.2024;00:00;1,25;2,5;1,0;2,0;2.000\n",
            {
                "date_column": "Datum",
                "time_column": "Zeit",
                "datetime_format": "%d.%m.%Y %H:%M",
                "columns": {
                    "open": "Eröffnung",
                    "high": "Hoch",
                    "low": "Tief",
                    "close": "Schluss",
                    "volume": "Volumen",
                },
            },
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_every_notation_gives_the_same_bars(tmp_path, text, options, encoding):
    (tmp_path / "c.txt").write_bytes(text.lstrip("\ufeff" if encoding != "utf-8" else "").encode(encoding))
    bars = read(tmp_path / "c.txt", **options)
    assert values(bars) == ROWS
    assert bars.index.tolist() == [pd.Timestamp("2024-01-02", tz="UTC"), pd.Timestamp("2024-01-03", tz="UTC")]


@pytest.mark.parametrize(
    ("numbers", "options", "first"),
    [
        ("1,234;1,235;1,233;1,234;10", {"decimal": ","}, 1.234),
        ("1,234;1,235;1,233;1,234;10", {"thousands": ","}, 1234.0),
        ("1.234,5;1.235;1.233,25;1.234;10", {}, 1234.5),
        ("1'234.5;1'235.0;1'233.0;1'234.5;10", {}, 1234.5),
        ("1e3;1e3;1e3;1e3;10", {}, 1000.0),
    ],
)
def test_marks_of_numbers(tmp_path, numbers, options, first):
    (tmp_path / "c.csv").write_text(HEADER.replace(",", ";") + "2024-01-02;" + numbers)
    assert read(tmp_path / "c.csv", **options)["open"].tolist() == [first]


def test_marks_that_do_not_tell_decimals_from_thousands_are_refused_with_the_options(tmp_path):
    (tmp_path / "c.csv").write_text(HEADER.replace(",", ";") + "2024-01-02;1,234;1,235;1,233;1,234;10")
    with pytest.raises(
        SourceError, match=r'column open holds no numbers: "1,234"; if .*which is which in decimal, thousands'
    ):
        read(tmp_path / "c.csv")


def test_a_file_without_volume_is_read_if_the_options_say_so(tmp_path):
    (tmp_path / "c.csv").write_text("open_time,open,high,low,close\n2024-01-02,1,2,0.5,1\n")
    with pytest.raises(SourceError, match=r"no column volume; .*volume: none"):
        read(tmp_path / "c.csv")
    assert values(read(tmp_path / "c.csv", volume="none")) == [[1, 2, 0.5, 1, 0]]
    source = source_from({"kind": "files", "path": "c.csv"})
    assert "volume" not in source.identity
    assert source_from({"kind": "files", "path": "c.csv", "volume": "none"}).identity["volume"] == "none"


@pytest.mark.parametrize("text", ["600519", "000660", "0700", "NA", "ON", "null", "1e5", "True"])
def test_rows_are_selected_by_text(tmp_path, text):
    (tmp_path / "c.csv").write_text(f"ticker,{HEADER}{text},2024-01-02,1,2,0.5,1,10\nB,2024-01-03,1,2,0.5,1,10\n")
    assert read(tmp_path / "c.csv", text, rows_where={"ticker": "{symbol}"}).index.day.tolist() == [2]


def packed(text: str, ending: str) -> bytes:
    if ending == "csv.zst":
        return pa.compress(text.encode(), codec="zstd", asbytes=True)
    if ending == "json":
        return json.dumps(pd.read_csv(io.StringIO(text)).to_dict("records")).encode()
    if ending == "json.gz":
        return gzip.compress(json.dumps(pd.read_csv(io.StringIO(text)).to_dict("list")).encode())
    return text.encode()


@pytest.mark.parametrize("ending", ["csv.zst", "json", "json.gz", "txt"])
def test_more_kinds_of_files(tmp_path, ending):
    (tmp_path / f"c.{ending}").write_bytes(packed(HEADER + LINES, ending))
    assert values(read(tmp_path / f"c.{ending}")) == ROWS


@pytest.mark.parametrize(
    "content",
    [
        [[1704153600000, *ROWS[0]], [1704240000000, *ROWS[1]]],
        {"symbol": "S", "result": [[1704153600000, *ROWS[0]], [1704240000000, *ROWS[1]]]},
    ],
)
def test_json_rows_may_be_lists(tmp_path, content):
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert values(read(tmp_path / "c.json", columns=NUMBERED)) == ROWS


XLSX = {
    "[Content_Types].xml": '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/'
    'content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
    'relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
    'officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/'
    'main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="a" '
    'sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package'
    '/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
    'relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}


def test_a_spreadsheet_is_read_by_its_values(tmp_path):
    cells = [line.split(",") for line in (HEADER + LINES).splitlines()]
    rows = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{c}</t></is></c>' for c in row) + "</row>" for row in cells
    )
    sheet = '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    with zipfile.ZipFile(tmp_path / "c.xlsx", "w") as archive:
        for name, text in XLSX.items():
            archive.writestr(name, text)
        archive.writestr("xl/worksheets/sheet1.xml", f"{sheet}<sheetData>{rows}</sheetData></worksheet>")
    assert values(read(tmp_path / "c.xlsx")) == ROWS


@pytest.fixture
def folder(tmp_path):
    """Two months, the later one first by name, as files, in a folder and in a zip that a Mac made."""
    first, second = (HEADER + line for line in LINES.splitlines(keepends=True))
    months = {"b.csv": first, "a.csv": second}
    (tmp_path / "months").mkdir()
    for name, text in months.items():
        (tmp_path / "months" / name).write_text(text)
        with zipfile.ZipFile(tmp_path / "months" / f"{name[0]}.zip", "w") as archive:
            archive.writestr(name, text)
    (tmp_path / "months" / "README").write_text("no table")
    with zipfile.ZipFile(tmp_path / "S.zip", "w") as archive:
        for name, text in months.items():
            archive.writestr(f"S/{name}", text)
            archive.writestr(f"__MACOSX/S/._{name}", "x")
        archive.writestr("S/gaps.txt", "no table")
    return tmp_path


@pytest.mark.parametrize("path", ["months/*.csv", "months/?.zip", "{symbol}.zip", "S.zip/S/*.csv"])
def test_many_files_are_one_history_by_their_stamps(folder, path):
    assert values(read(folder / path)) == ROWS


def test_a_folder_is_all_its_tables(folder):
    for name in ("a.zip", "b.zip"):
        (folder / "months" / name).unlink()
    assert values(read(folder / "months")) == ROWS
    assert values(read(f"{folder}/months/")) == ROWS


def test_a_member_of_a_zip_is_named_behind_it(folder):
    assert values(read(folder / "S.zip/S/a.csv")) == ROWS[1:]
    with pytest.raises(SourceError, match=r"holds no table c.csv; it has S/b.csv, S/a.csv"):
        read(folder / "S.zip/c.csv")


def test_a_pattern_that_fits_nothing_is_refused_with_what_is_there(folder):
    with pytest.raises(SourceError, match=r"no such file; .*months holds README, a.csv"):
        read(folder / "months/*.parquet")


@pytest.fixture
def web(folder):
    """A server of the folder, which says when its files were written."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["months/a.csv", "months/a.zip", "S.zip/S/a.csv"])
def test_a_url_is_a_path(web, path):
    assert values(read(f"{web}/{path}")) == ROWS[1:]


def test_a_url_without_a_file_is_refused_by_name(web):
    with pytest.raises(SourceError, match=r"S: source files http://127.*/gone.csv: no such file"):
        read(f"{web}/gone.csv")
