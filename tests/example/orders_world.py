"""A user's world: SQLite, a program that we did not write, behind two tools of a clerk."""

import random
import sqlite3

ITEMS = ["bolt", "hinge", "lamp", "rope", "saw"]


class OrdersWorld:
    """A task is {orders: {item: count}, wanted: {item: count}}: the first rows, and the last."""

    def reset(self, task):
        self.wanted = task["wanted"]
        self.base = sqlite3.connect(":memory:")
        self.base.execute("CREATE TABLE orders (item TEXT PRIMARY KEY, count INTEGER)")
        self.base.executemany("INSERT INTO orders VALUES (?, ?)", task["orders"].items())
        return self.base

    def call(self, name, arguments):
        if name == "tables":
            return [row[0] for row in self.base.execute("SELECT name FROM sqlite_master")][:1]
        cursor = self.base.execute(arguments["statement"])
        names = [column[0] for column in cursor.description or []]
        return {"rows": [dict(zip(names, row)) for row in cursor], "changed": cursor.rowcount}

    def goal(self, base):
        return dict(base.execute("SELECT item, count FROM orders")) == self.wanted


class ManyOrdersWorld(OrdersWorld):
    """The same, with tasks of its own making."""

    def tasks(self, seed, count):
        rng, out = random.Random(seed), []
        for _ in range(count):
            orders = {item: rng.randint(1, 90) for item in rng.sample(ITEMS, 3)}
            item, more = rng.choice(list(orders)), rng.randint(1, 9)
            statement = f"UPDATE orders SET count = count + {more} WHERE item = '{item}'"
            wanted = orders | {item: orders[item] + more}
            select = f"SELECT count FROM orders WHERE item = '{item}'"
            out.append({
                "request": f"Order {more} more of {item} and tell me how many that makes.",
                "calls": [{"name": "sql", "arguments": {"statement": statement}},
                          {"name": "sql", "arguments": {"statement": select}}],
                "answer": f"That makes {wanted[item]}.",
                "facts": [str(wanted[item])],
                "task": {"orders": orders, "wanted": wanted},
            })  # fmt: skip
        return out
