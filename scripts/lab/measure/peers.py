"""Peers: stream processors that follow the orders of config/orders.yaml from step to step, as users write it for them.

A peer is no requirement of the project: `pip install bytewax==0.21.1`. Then fill a topic with `scripts/bench.py --view orders`,
and run `python -m scripts.lab.measure.peers HOST:PORT TOPIC RECORDS` beside it.
"""

import json
import sys
import time
from typing import Annotated, Any

import msgspec
import psutil
import typer

from scripts.lab.measure.rivals import WITHIN_S, Order

_READ_AT_ONCE = 10_000
_STEPS = {"order_created": 0, "payment_ok": 1, "parcel_out": 2}

_Reached = tuple[int, float]
"""The number of steps that an order has, and the time of the first one."""


def keyed(value: bytes, decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)) -> tuple[str, tuple[str, float]]:
    """Return the key, the type and the time of a record."""
    order = decoder.decode(value)
    return order.id, (order.type, order.meta.ts.timestamp())


def stepped(reached: _Reached | None, event: tuple[str, float]) -> tuple[_Reached | None, list[float]]:
    """Take an event of one order. Returns what it has reached, and its duration if it is complete."""
    number, time_of = _STEPS.get(event[0]), event[1]
    if number == 0:
        return (1, time_of), []
    if reached is None or number != reached[0]:
        return reached, []
    if number == 1:
        return (2, reached[1]), []
    return None, [time_of - reached[1]] if time_of - reached[1] <= WITHIN_S else []


def bytewax(
    bootstrap: Annotated[str, typer.Argument(help="HOST:PORT of the broker.")],
    topic: Annotated[str, typer.Argument(help="The topic with orders.")],
    records: Annotated[int, typer.Argument(help="The number of records in it.")],
) -> None:
    """Follow the orders with Bytewax, with keyed state in memory, and print the figures."""
    try:
        import bytewax.operators as op  # noqa: PLC0415  # a peer
        from bytewax.connectors.kafka import KafkaSource  # noqa: PLC0415
        from bytewax.dataflow import Dataflow  # noqa: PLC0415
        from bytewax.outputs import DynamicSink, StatelessSinkPartition  # noqa: PLC0415
        from bytewax.testing import run_main  # noqa: PLC0415
    except ImportError:
        sys.exit("peers: bytewax is not installed: pip install bytewax==0.21.1")
    complete = 0

    class Counting(StatelessSinkPartition):  # type: ignore[misc]  # a base without types
        def write_batch(self, items: list[Any]) -> None:
            nonlocal complete
            complete += len(items)

    class Count(DynamicSink):  # type: ignore[misc]
        def build(self, step_id: str, worker_index: int, worker_count: int) -> Counting:  # noqa: ARG002  # its interface
            return Counting()

    flow = Dataflow("orders")
    read = op.input("in", flow, KafkaSource([bootstrap], [topic], tail=False, batch_size=_READ_AT_ONCE))
    events = op.map("decode", read, lambda message: keyed(message.value))
    op.output("out", op.stateful_flat_map("steps", events, stepped), Count())
    began, used = time.perf_counter(), time.process_time()
    run_main(flow)
    figures = {
        "per_s": records / (time.perf_counter() - began),
        "cpu_us_a_record": (time.process_time() - used) / records * 1e6,
        "complete": complete,
        "rss_bytes": psutil.Process().memory_info().rss,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(bytewax)
