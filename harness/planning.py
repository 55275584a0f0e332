"""What a run would do, before it does it: every stage, and which are cached."""

import json

from harness.runner import Plan
from harness.store import ENTRY, Store


def table(plan: Plan, store: Store) -> str:
    """Return a line for each stage: cached, with the seconds it took, or to do."""
    lines = []
    for node in plan.nodes:
        if node.given:
            state = "given"
        elif store.has(node):
            entry = json.loads((store.directory(node) / ENTRY).read_text("utf-8"))
            state = f"cached ({entry['seconds']:.1f} s)"
        else:
            state = "to do"
        lines.append(f"{node.stage:10} {node.key[:8]}  {state:18} {node.label}")
    waiting = sum(not store.has(node) for node in plan.nodes)
    lines.append(f"{len(lines)} stages, {waiting} to do")
    return "\n".join(lines)
