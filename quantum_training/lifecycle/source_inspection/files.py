"""How the files of a symbol are read: how many, of which format, and what their stamps look like and mean."""

from __future__ import annotations

from quantum_training.settings.schema import Symbol
from quantum_training.sources.tables.layouts import Head, filled, head_of, layout_of
from quantum_training.sources.tables.locations import find_parts
from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.presets import PRESETS
from quantum_training.sources.tables.stamps import unit_of
from quantum_training.sources.tables.text import fields_of


def files_of(symbol: str, market: Symbol) -> list[str]:
    """Lines on the files of a symbol; none for a source of another kind. Of many files, the first by name is shown."""
    source = market.source
    if not isinstance(source, TableOptions):
        return []
    parts = find_parts(source.path.replace("{symbol}", symbol))
    fields = source.model_dump(include=set(TableOptions.model_fields), exclude_unset=True)
    own_options = TableOptions.model_validate(fields)
    options = filled(own_options, parts[0], own_options.resample_from or market.timeframe)
    head = head_of(parts[0], options.encoding)
    fitting = [name for name in PRESETS if (layout := layout_of(name, head)) and not layout.refusal]
    format_line = options.format or f"not set; the start of the file fits {', '.join(fitting) or 'none'}"
    return [
        f"  files: {len(parts)}, the first is {parts[0].name}",
        f"  format: {format_line}",
        f"  stamps: {_stamps(options, head) if parts[0].is_text else 'times of the table'}, zone {options.timezone}",
    ]


def _stamps(options: TableOptions, head: Head) -> str:
    """The first stamp, as the file has it, and how it is read."""
    lines = [line for line in head.text.split("\n") if line.strip()][options.skip_rows :]
    header = fields_of(lines[0], head.separator)
    names = header if options.header else [str(number) for number in range(len(header))]
    row = dict(zip(names, fields_of((lines[1:] if options.header else lines)[0], head.separator), strict=False))
    text = " ".join(row.get(name, "") for name in options.stamp_columns)
    unit = unit_of(text)
    form = options.datetime_format or (f"Unix time in {unit}" if unit else "ISO 8601")
    return f"{text!r} as {form}"
