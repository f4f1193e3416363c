#!/usr/bin/env python3
"""Writes messages.jsonl, the orders of this example: always the same file.

    ./make-messages.py           write messages.jsonl and expected.json
    ./make-messages.py --check   fail where they, or the table in README.md, are not what would be written

One line is one message, in the shape that `wharf publish --file` reads:

    {"key": "c-17", "headers": {"source": "web"}, "payload": {"order_id": ...}}

`payload` is published as compact JSON. Instead of it stands `payload_text` for text that is to be published
as it is, or `payload_base64` for bytes. `key` and `headers` may be absent.

expected.json says how many messages of each class there are, and what becomes of them.
"""

import base64
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
TOTAL = 4000

# class: (how many, what happens, code or cause, description). `ok` takes what is left of TOTAL.
CLASSES = {
    "ok": (None, "priced", "", "sound orders"),
    "slow-payment": (160, "priced", "", "the payment times out once, the order is priced by the second attempt"),
    "slower-payment": (40, "priced", "", "the payment times out twice"),
    "no-decimals": (60, "priced by the fixed version", "trap", "in yen or won: version 1 panics"),
    "never-paid": (5, "dead", "exhausted", "the payment never answers, code `payment-timeout`"),
    "not-json": (12, "dead", "invalid-json", "cut off in the middle"),
    "not-utf8": (4, "dead", "invalid-json", "bytes that are no text"),
    "empty": (6, "dead", "empty-message", "no payload at all"),
    "missing-field": (20, "dead", "invalid-order", "no customer, or no currency"),
    "no-items": (14, "dead", "no-items", "an empty basket"),
    "bad-quantity": (12, "dead", "bad-quantity", "none, or thousands, of an item"),
    "bad-price": (8, "dead", "bad-price", "a price such as `-3.00`"),
    "bad-discount": (6, "dead", "bad-discount", "95 % off"),
    "unknown-currency": (10, "dead", "unknown-currency", "crowns of somewhere"),
    "unknown-country": (6, "dead", "unknown-country", "to where no tax is known"),
}

CATALOGUE = [
    ("TEA-ASSAM-100", 690), ("TEA-SENCHA-100", 1250), ("TEA-ROOIBOS-250", 840), ("COFFEE-SIDAMO-1K", 2890),
    ("COFFEE-HUILA-500", 1590), ("MUG-STONE-300", 1400), ("KETTLE-GOOSE-900", 7900), ("FILTER-V60-100", 650),
    ("GRINDER-HAND", 11900), ("SCALE-01G", 3450), ("HONEY-LINDEN-500", 925), ("CHOC-DARK-85", 475),
]
PLACES = [("DE", "EUR"), ("AT", "EUR"), ("FR", "EUR"), ("GB", "GBP"), ("CH", "CHF"), ("US", "USD")]
FAR_PLACES = [("JP", "JPY"), ("KR", "KRW")]
FIRST = "Ada Ben Chloe Dmitri Elif Farid Greta Hana Ivo Jun Kofi Léa Mateo Noor Olga Priya Quinn Rui Sára Tomás".split()


class Shop:
    """Makes orders, each from the same stream of chance."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.count = 0

    def pick(self, some):
        return some[int(self.chance.random() * len(some))]

    def between(self, low, high):
        return low + int(self.chance.random() * (high - low + 1))

    def item(self, decimals):
        sku, cents = self.pick(CATALOGUE)
        price = f"{cents // 100}.{cents % 100:02}" if decimals else str(cents * 2)
        return {"sku": sku, "quantity": self.between(1, 4), "unit_price": price}

    def order(self, places=PLACES):
        self.count += 1
        country, currency = self.pick(places)
        customer = self.between(1, 400)
        name = FIRST[customer % len(FIRST)]
        order = {
            "order_id": f"o-{self.count:06}",
            "customer": {"id": f"c-{customer}", "name": name, "email": f"customer{customer}@example.com"},
            "currency": currency,
            "items": [self.item(places is PLACES) for _ in range(self.between(1, 5))],
        }
        if self.chance.random() < 0.3:
            order["discount"] = {"percent": self.pick([5, 10, 15, 20])}
        order["ship_to"] = country
        order["payment_ref"] = f"pay-{self.between(10**9, 10**10 - 1)}"
        if self.chance.random() < 0.1:
            order["note"] = self.pick(["leave it at the door", "c'est un cadeau 🎁", "ring twice", "ohne Plastik, bitte"])
        return order

    def message(self, kind):
        order = self.order(FAR_PLACES if kind == "no-decimals" else PLACES)
        source = self.pick(["web", "web", "web", "app", "app", "partner"])
        message = {"key": order["customer"]["id"], "headers": {"source": source}}
        return message | spoil(kind, order, self)


def spoil(kind, order, shop):
    """The payload of a message of this class."""
    item = order["items"][0]
    match kind:
        case "slow-payment":
            order["payment_ref"] += "-t1"
        case "slower-payment":
            order["payment_ref"] += "-t2"
        case "never-paid":
            order["payment_ref"] += "-t99"
        case "not-json":
            text = json.dumps(order, ensure_ascii=False)
            return {"payload_text": text[: len(text) // 2]}
        case "not-utf8":
            return {"payload_base64": base64.b64encode(b'{"order_id":"\xff\xfe\x00\xc3"}').decode()}
        case "empty":
            return {"payload_text": ""}
        case "missing-field":
            del order[shop.pick(["customer", "currency"])]
        case "no-items":
            order["items"] = []
        case "bad-quantity":
            item["quantity"] = shop.pick([0, 5000])
        case "bad-price":
            item["unit_price"] = shop.pick(["-3.00", "1.2.3", "12.x0"])
        case "bad-discount":
            order["discount"] = {"percent": 95}
        case "unknown-currency":
            order["currency"] = shop.pick(["NOK", "SEK", "CZK"])
        case "unknown-country":
            order["ship_to"] = shop.pick(["AQ", "ZZ"])
    return {"payload": order}


def counts():
    named = {kind: count for kind, (count, *_) in CLASSES.items() if count}
    return {"ok": TOTAL - sum(named.values())} | named


def messages():
    shop = Shop(20261121)
    kinds = [kind for kind, count in counts().items() for _ in range(count)]
    # Sorted by chance rather than shuffled: the order depends on random() alone, on every Python.
    kinds = [kind for _, kind in sorted((shop.chance.random(), kind) for kind in kinds)]
    lines = (json.dumps(shop.message(kind), ensure_ascii=False, separators=(",", ":")) for kind in kinds)
    return "\n".join(lines) + "\n"


def expected():
    dead = {}
    for kind, (_, fate, code, _) in CLASSES.items():
        if fate == "dead":
            dead[code] = dead.get(code, 0) + counts()[kind]
    fixed = sum(count for kind, count in counts().items() if CLASSES[kind][1].startswith("priced"))
    document = {
        "messages": TOTAL,
        "classes": counts(),
        "priced_by_fixed": fixed,
        "priced_by_first": fixed - counts()["no-decimals"],
        "trapped_by_first": counts()["no-decimals"],
        "dead_in_both": dead,
    }
    return json.dumps(document, indent=2) + "\n"


def table():
    rows = ["| class | messages | what becomes of it | what it is |", "|---|---:|---|---|"]
    for kind, (_, fate, code, text) in CLASSES.items():
        if fate == "dead":
            fate = f"dead letter, {'cause' if code == 'exhausted' else 'code'} `{code}`"
        rows.append(f"| {kind} | {counts()[kind]} | {fate} | {text} |")
    return "\n".join(rows) + "\n"


def main():
    files = {HERE / "messages.jsonl": messages(), HERE / "expected.json": expected()}
    if "--check" not in sys.argv[1:]:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        print(table(), end="")
        return
    for path, text in files.items():
        if path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} is not what {Path(__file__).name} writes: run it")
    if table() not in (HERE / "README.md").read_text(encoding="utf-8"):
        sys.exit("the table in README.md is out of date: put this there\n\n" + table())


if __name__ == "__main__":
    main()
