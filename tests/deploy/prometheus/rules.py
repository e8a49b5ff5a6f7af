"""The rules of deploy/prometheus, and what is expected of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = ROOT / "deploy" / "prometheus"
EXPECTATIONS = sorted(Path(__file__).parent.glob("*.yml"))
"""Files of promtool's: what goes in, and which alerts it makes fire."""


def rules() -> list[dict[str, Any]]:
    """Every rule of every group."""
    files = sorted((CONFIGURATION / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert, by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def expectations() -> Iterator[tuple[str, bool]]:
    """The alerts that promtool's files look at, each with whether it is to fire."""
    for file in EXPECTATIONS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for looked_at in case["alert_rule_test"]:
                yield looked_at["alertname"], bool(looked_at.get("exp_alerts"))
