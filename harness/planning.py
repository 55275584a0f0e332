"""What a run would do, before it does it: every stage, and which are cached."""

import json
from pathlib import Path

from harness.experiment import Plan
from harness.store import ENTRY, Store


def table(plan: Plan, store: Store) -> str:
    """Return a line for each stage: cached, with the seconds it took, or to do."""
    lines = []
    for node in plan.nodes:
        if node.given:
            state = "given"
        elif store.has(node):
            state = _cached(store.directory(node) / ENTRY)
        else:
            state = "to do"
        lines.append(f"{node.stage:10} {node.key[:8]}  {state:18} {node.label}")
    waiting = sum(not store.has(node) for node in plan.nodes)
    lines.append(f"{len(lines)} stages, {waiting} to do")
    return "\n".join(lines)


def _cached(entry: Path) -> str:
    try:
        return f"cached ({json.loads(entry.read_text('utf-8'))['seconds']:.1f} s)"
    except (ValueError, KeyError, TypeError):
        return "damaged"  # a run sets it aside and makes it again
