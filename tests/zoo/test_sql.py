from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest

from graphws.zoo.sql import query_table, select_rows

TABLE = pa.table({"id": [0, 1, 2], "activation": ["relu", "gelu", None], "lr": [0.1, 0.001, None], "group": [1, 2, 3]})
CONDITIONS = {
    "activation = 'relu' and lr < 0.5": [0],
    "lr > 0": [0, 1],
    '"group" in (1, 3)': [0, 2],
    "activation is null": [2],
    "lr > (select min(lr) from networks)": [0],
    "activation like '%elu' -- those": [0, 1],
    "false": [],
}
NO_CONDITIONS = [
    "", " ", "activation =", "what = 1", "1=1) union select 1 --", "lr < 'abc'", "activation < 5", "activation", "lr",
    "1; drop table networks", "count(*) > 1", "id in (select id from read_csv('/etc/passwd'))", "*",
    "unnest([true])", "lr =",
    "(select count(*) from '/etc/passwd') > 0", "lr < 0.01 order by 1", 'activation = "relu"', "sum(id) > 3",
    "true, false",
    "__import__('os')", "lr < 0.01 limit 1", "exists (select * from glob('/*'))", "null", "'true'",
]  # fmt: skip
QUERIES = {
    "select activation, count(*) as n from networks group by 1 order by 2, 1 nulls last": [
        {"activation": "gelu", "n": 1}, {"activation": "relu", "n": 1}, {"activation": None, "n": 1},
    ],
    "with a as (select max(lr) as m from networks) select m from a;": [{"m": 0.1}],
    "FROM networks SELECT id WHERE lr < 0.01": [{"id": 1}],
    "select id from networks where false": [],
}  # fmt: skip
NO_QUERIES = [
    "", ";", "select", "drop table networks", "select 1; select 2", "select * from '/etc/passwd'",
    "select * from read_text('/etc/passwd')", "set enable_external_access = true", "select * from TABLE",
    "select * from glob('/*')", "create table a as select 1", "insert into networks select * from networks",
    "install httpfs", "load httpfs", "attach 'x.db'", "pragma database_list", "copy networks to 'x.csv'",
    "export database 'x'", "update networks set id = 1", "select cast(activation as int) from networks",
    "select * from read_csv('http://example.org/x.csv')", "select * from query('drop table networks')",
    "select * from given", "call pragma_version()", "select whatever from networks",
]  # fmt: skip


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rows_for_which_a_condition_holds(condition: str) -> None:
    assert select_rows(TABLE, condition) == CONDITIONS[condition]


@pytest.mark.parametrize("condition", NO_CONDITIONS)
def test_what_is_no_condition_is_one_error(condition: str) -> None:
    with pytest.raises(ValueError, match="--select ") as error:
        select_rows(TABLE, condition)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sql", QUERIES)
def test_queries(sql: str) -> None:
    assert query_table(TABLE, sql).to_pylist() == QUERIES[sql]


@pytest.mark.parametrize("sql", NO_QUERIES)
def test_nothing_but_the_table_is_read_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected one SELECT|the query fails") as error:
        query_table(TABLE, sql)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_order_of_many_rows_stays() -> None:
    table = pa.table({"n": list(range(300_000))})
    assert select_rows(table, "n % 7 = 3") == list(range(3, 300_000, 7))


def test_without_duckdb_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    for run in (lambda: query_table(TABLE, "select 1"), lambda: select_rows(TABLE, "true")):
        with pytest.raises(ValueError, match=r"need DuckDB: pip install 'graphws\[query\]'"):
            run()


def test_columns_that_sql_does_not_tell_apart_are_refused() -> None:
    table = pa.table({"Acc": [1, 2], "acc": [3, 4]})
    for run in (lambda: query_table(table, "select acc from networks"), lambda: select_rows(table, "acc > 2")):
        with pytest.raises(ValueError, match="columns 'Acc' and 'acc' differ in case alone"):
            run()


def test_half_numbers_and_awkward_names() -> None:
    table = pa.table({"half": pa.array([1, 2], pa.float16()), 'a"b': [1, 2], "rowid": [7, 8], "given": [None, None]})
    assert select_rows(table, '"a""b" = 2 and half > 1 and rowid = 8 and given is null') == [1]
