"""Runs queries over records, by duckdb-kql: Kusto's language on DuckDB.

    python run.py < questions.json      [{"query": TEXT, "traces": [RECORD], "requests": [RECORD]}]

Prints one answer for each: {"rows": [[VALUE]]}, or {"unsupported": TEXT} for what the engine does not know. A record's
`minutes` says how long ago it was.
"""

import datetime
import json
import sys

import duckdb_kql

COLUMNS = {
    "traces": {"timestamp": "TIMESTAMPTZ", "message": "VARCHAR", "customDimensions": "JSON", "itemCount": "INT"},
    "requests": {"timestamp": "TIMESTAMPTZ", "name": "VARCHAR", "success": "VARCHAR", "duration": "DOUBLE", "itemCount": "INT"},
}


def value(record, column, now):
    if column == "timestamp":
        return now - datetime.timedelta(minutes=record["minutes"])
    one = record.get(column)
    return json.dumps(one) if isinstance(one, dict) else one


def answer(question):
    now = datetime.datetime.now(datetime.timezone.utc)
    connection = duckdb_kql.connect()
    for table, columns in COLUMNS.items():
        connection.execute(f"CREATE TABLE {table} ({', '.join(' '.join(column) for column in columns.items())})")
        for record in question[table]:
            row = [value(record, column, now) for column in columns]
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    try:
        return {"rows": duckdb_kql.query(connection, question["query"]).fetchall()}
    except duckdb_kql.KqlUnsupportedError as why:
        return {"unsupported": str(why)}


print(json.dumps([answer(question) for question in json.load(sys.stdin)], default=str))
