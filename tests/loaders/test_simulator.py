"""The simulated month: reproducible, true to the profiles of DESIGN section 7, and physically
possible.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from loaders.errors import UserError
from loaders.simulator import Config, Faults, Month, simulate, write_month
from loaders.simulator.config import BOPIS, DAY_S, RESTOCK, SALE, SHRINK

ALL_FAULTS = Faults(
    duplicates=0.1,
    late=0.05,
    out_of_order=0.1,
    malformed=0.05,
    unknown_item=0.05,
    conflicting=0.05,
    late_counts=0.5,
    corrected_counts=0.1,
)
SMALL = Config(items=50, days=3, lines=500)
THE_MONTH = "2c12855bb7aacaeb"  # pragma: allowlist secret


@pytest.fixture(scope="module")
def big() -> Month:
    return simulate(Config(items=20_000, days=14, lines=250_000))


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes_and_other_seed_other_bytes(tmp_path: Path) -> None:
    config = replace(SMALL, days=6, faults=ALL_FAULTS)
    for name, each in (("one", config), ("two", config), ("three", replace(config, seed=2))):
        write_month(simulate(each), tmp_path / name)
    one, two, three = (_digests(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    for name in ("online/changes.parquet", "truth/movements.parquet", "reference/items.csv"):
        assert one[name] != three[name]


def test_the_month_stays_what_it_was() -> None:
    """Benchmarks and pages hang on it. Another digest means that each seed makes another month."""
    month = simulate(replace(SMALL, days=6, faults=ALL_FAULTS))
    digest = hashlib.sha256(b"\n".join(month.transmissions.bodies))
    columns = [month.transmissions.sent_s, month.first_sent_s, month.physical, month.safety_stock]
    columns += [column for file in month.counts for column in (file.item, file.quantity)]
    for column in columns:
        digest.update(np.ascontiguousarray(column, np.int64).tobytes())
    assert digest.hexdigest()[:16] == THE_MONTH


def test_faults_change_what_is_sent_not_what_happened() -> None:
    calm, stormy = simulate(SMALL), simulate(replace(SMALL, faults=ALL_FAULTS))
    known = stormy.ledger.item < SMALL.items
    assert (stormy.ledger.quantity[known] == calm.ledger.quantity).all()
    assert (stormy.ledger.trans_id == calm.ledger.trans_id).all()
    assert (stormy.physical == calm.physical).all()
    assert len(stormy.transmissions.bodies) > len(calm.transmissions.bodies)


def test_layout_and_formats(tmp_path: Path) -> None:
    write_month(simulate(replace(SMALL, faults=ALL_FAULTS)), tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    with (tmp_path / "reference" / "items.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert list(rows[0]) == ["item_id", "name", "supplier_id", "safety_stock_quantity"]
    assert [int(row["item_id"]) for row in rows] == list(range(100_001, 100_051))
    assert any("," in row["name"] for row in rows)
    assert any('"' in row["name"] for row in rows)
    for pos in ("online", "store_001"):
        table = pq.read_table(tmp_path / pos / "changes.parquet")
        assert [(field.name, str(field.type)) for field in table.schema] == [
            ("sent_at", "timestamp[us]"),
            ("lines", "int32"),
            ("body", "string"),
        ]
        sent = table["sent_at"].to_numpy()
        assert (sent[1:] >= sent[:-1]).all()
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert [each["sent_at"] for each in counts] == sorted(each["sent_at"] for each in counts)
    for each in counts:
        with (tmp_path / each["path"]).open() as text:
            assert text.readline() == "item_id,employee_id,store_id,date_time,quantity\n"
    assert json.loads((tmp_path / "month.json").read_text())["config"]["faults"]["late"] == 0.05


def test_a_second_month_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    write_month(simulate(replace(SMALL, days=11)), tmp_path / "again")
    for name in ("again", "fresh"):
        write_month(simulate(SMALL), tmp_path / name)
    assert _digests(tmp_path / "again") == _digests(tmp_path / "fresh")


def test_lines_meet_the_target(big: Month) -> None:
    assert len(big.ledger.item) == pytest.approx(250_000, rel=0.05)


def test_trans_ids_are_unique_but_for_pickups(big: Month) -> None:
    ledger = big.ledger
    pickup = (ledger.change_type_id == BOPIS) & (ledger.store_id == 1)
    order = (ledger.change_type_id == BOPIS) & (ledger.store_id == 0)
    assert len(np.unique(ledger.trans_id[~pickup])) == (~pickup).sum()
    assert len(np.unique(ledger.trans_id[pickup])) == pickup.sum()
    assert np.isin(ledger.trans_id[pickup], ledger.trans_id[order]).all()
    key = ledger.transaction * 1_000_000 + ledger.item
    assert len(np.unique(key)) == len(key)


def test_baskets_units_and_returns_follow_the_profiles(big: Month) -> None:
    ledger = big.ledger
    sizes = np.diff(ledger.first_line)[ledger.change_type_id == SALE]
    assert sizes.mean() == pytest.approx(9.4, rel=0.05)
    assert np.median(sizes) == pytest.approx(5, abs=1)
    assert sizes.max() <= 161
    kind = ledger.change_type_id[ledger.transaction]
    sold = ledger.quantity[kind == SALE]
    assert (sold > 0).mean() == pytest.approx(0.017, abs=0.002)
    for units, share in ((1, 0.79), (2, 0.14), (3, 0.03)):
        assert (np.abs(sold) == units).mean() == pytest.approx(share, abs=0.01)
    assert (ledger.quantity[kind == RESTOCK] > 0).all()
    assert (ledger.quantity[(kind == SHRINK) | (kind == BOPIS)] < 0).all()
    written_off = -ledger.quantity[kind == SHRINK].sum() / -sold[sold < 0].sum()
    assert written_off == pytest.approx(0.014 * 0.6, rel=0.2)


def test_hours_weekdays_and_channels_follow_the_profiles(big: Month) -> None:
    ledger = big.ledger
    at = ledger.occurred_s[ledger.change_type_id == SALE]
    hours = np.bincount(at % DAY_S // 3600, minlength=24) / len(at)
    assert hours[:5].sum() == 0
    assert hours[17] == pytest.approx(0.097, abs=0.01)
    assert hours[6] == pytest.approx(0.012, abs=0.005)
    weekdays = np.bincount((at // DAY_S + big.config.start.weekday()) % 7, minlength=7) / len(at)
    assert weekdays[6] == pytest.approx(0.163, abs=0.01)
    assert weekdays[2] == pytest.approx(0.132, abs=0.01)
    kind = ledger.change_type_id[ledger.transaction]
    asked = (kind == SALE) | ((kind == BOPIS) & (ledger.store_id[ledger.transaction] == 0))
    online = (ledger.store_id[ledger.transaction][asked] == 0).mean()
    assert online == pytest.approx(0.30, abs=0.02)


def test_popularity_falls_with_rank(big: Month) -> None:
    ledger = big.ledger
    sold = ledger.change_type_id[ledger.transaction] == SALE
    for store_id in (0, 1):
        here = sold & (ledger.store_id[ledger.transaction] == store_id)
        sales = np.sort(np.bincount(ledger.item[here], minlength=20_000))[::-1]
        rank = np.arange(5, 400)
        slope = np.polyfit(np.log(rank), np.log(sales[rank - 1]), 1)[0]
        assert slope == pytest.approx(-0.67, abs=0.08)


def test_few_orders_are_never_collected_and_pickups_follow(big: Month) -> None:
    ledger = big.ledger
    order = (ledger.change_type_id == BOPIS) & (ledger.store_id == 0)
    pickup = (ledger.change_type_id == BOPIS) & (ledger.store_id == 1)
    when = dict(
        zip(ledger.trans_id[order].tolist(), ledger.occurred_s[order].tolist(), strict=True)
    )
    picked = zip(ledger.trans_id[pickup].tolist(), ledger.occurred_s[pickup].tolist(), strict=True)
    delays = np.array([at - when[trans_id] for trans_id, at in picked])
    assert delays.min() >= 3600
    assert np.median(delays) == pytest.approx(10 * 3600, rel=0.4)
    old = order & (ledger.occurred_s < 8 * DAY_S)
    never = 1 - np.isin(ledger.trans_id[old], ledger.trans_id[pickup]).mean()
    assert 0.02 < never < 0.08
    named = (ledger.fulfillment_store_id[order] == 1).mean()
    assert 0.4 < named < 0.6
    assert (ledger.fulfillment_store_id[~order] == -1).all()


@pytest.mark.parametrize("days", [1, 2])
def test_the_smallest_worlds_work(days: int, tmp_path: Path) -> None:
    write_month(simulate(Config(items=1, days=days, lines=1, faults=ALL_FAULTS)), tmp_path)
    first = json.loads((tmp_path / "month.json").read_text())["first_sent_at"]
    assert datetime.fromisoformat(first) >= datetime(2021, 1, 1)


def test_senseless_configurations_are_refused() -> None:
    with pytest.raises(UserError, match="days"):
        Config(days=0)
    with pytest.raises(UserError, match="online_share"):
        Config(online_share=1.5)
    with pytest.raises(UserError, match="duplicates"):
        Faults(duplicates=-0.1)
