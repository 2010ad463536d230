"""The phone tables against upstream's, number by number."""

import pytest

from sovits_rt.errors import TextError
from sovits_rt.text import symbols


@pytest.mark.parametrize("table", ["v1", "v2"])
def test_tables_equal_upstream(golden, table):
    assert list(symbols.phone_ids(table)) == golden.text("symbols")[table]
    assert list(symbols.phone_ids(table).values()) == list(range(symbols.TABLE_SIZES[table]))


def test_v1_is_the_beginning_of_v2():
    assert list(symbols.phone_ids("v2"))[:322] == list(symbols.phone_ids("v1"))


def test_a_phone_that_the_table_lacks_becomes_unknown():
    assert symbols.known(["AA0", "[", "no phone"], "v1") == ("AA0", "UNK", "UNK")
    assert symbols.known(["AA0", "[", "no phone"], "v2") == ("AA0", "[", "UNK")


def test_tables_can_not_be_changed():
    with pytest.raises(TypeError):
        symbols.phone_ids("v2")["AA0"] = 0


def test_unknown_table():
    with pytest.raises(TextError, match=r"^The symbol table 'v9' is not known; use one of: v1, v2\.$"):
        symbols.phone_ids("v9")
