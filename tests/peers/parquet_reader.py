"""Reads a Parquet file with pyarrow: a line for its columns, then a JSON array a row, times in UTC milliseconds."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

task = json.loads(sys.argv[1])
file = pq.ParquetFile(task["file"])
schema = file.schema_arrow
print(json.dumps({"said": "columns", "names": schema.names, "types": [str(t) for t in schema.types],
                  "rows": file.metadata.num_rows, "groups": file.num_row_groups}), flush=True)
for batch in file.iter_batches():
    columns = []
    for name, column in zip(batch.schema.names, batch.columns):
        if pa.types.is_timestamp(column.type):
            assert column.type.tz == "UTC" and column.type.unit == "ms", column.type
            column = column.cast(pa.int64())
        columns.append(column.to_pylist())
    for row in zip(*columns):
        print(json.dumps(row, ensure_ascii=False))
