"""`svcd gpus`: what NVML says of this box."""

from __future__ import annotations

import click

from svcd.cli.graph import read_inventory
from svcd.cli.table import render, size

HEADER = ("INDEX", "NAME", "MEMORY", "USED", "NUMA", "BUS", "UUID")


@click.command("gpus")
@click.option("--json", "as_json", is_flag=True, help="Print the inventory as JSON.")
def command(*, as_json: bool) -> None:
    """List the GPUs that replicas can be placed on. A box without any is no error: CPU services run as ever."""
    inventory = read_inventory()
    if as_json:
        click.echo(inventory.to_json())
        return
    rows = [
        [
            str(gpu.index),
            gpu.name,
            size(gpu.memory_total),
            size(gpu.memory_used),
            "-" if gpu.numa_node is None else str(gpu.numa_node),
            gpu.pci_bus_id,
            gpu.uuid,
        ]
        for gpu in inventory.gpus
    ]
    for line in render(HEADER, rows) if rows else ():
        click.echo(line)
    for gpu in inventory.unusable:
        click.echo(f"{gpu.index:<5}  {gpu.name or 'unknown'}: not usable: {gpu.reason}")
    if not rows and not inventory.unusable:
        click.echo(f"no GPUs: {inventory.problem}")
