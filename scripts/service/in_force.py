"""The settings in force while the service runs: what the gateway allows, and the rules of each stream's manager."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from actors.messages import ManagerAddress
from actors.stream import Running, StreamPlan
from actors.views.view import View
from config.settings import Http, Settings
from config.tokens import tokens
from gateway.wire.limits import Allowance, Limits
from scripts.service.memory import Budget, StreamMeter
from scripts.service.plan import max_age_of, view_of


def limits_of(http: Http, reply_bytes: int) -> Limits:
    """Return the limits of the gateway, with its tokens read now. Raises ValueError if they cannot be read.

    A limit has the name of its setting below `http`; milliseconds become seconds.
    """
    given: dict[str, Any] = {}
    for name, value in http:
        given |= {f"{name[:-3]}_s": value / 1000} if name.endswith("_ms") else {name: value}
    given |= {"hosts": tuple(http.hosts), "tokens": tokens(http, os.environ), "reply_bytes": reply_bytes}
    return Limits(**{field.name: given[field.name] for field in fields(Limits)})


@dataclass(frozen=True, slots=True)
class Rule:
    """What the manager of a running stream obeys. It may spill generations to the disk if `spills` is true."""

    manager: ManagerAddress
    meter: StreamMeter
    baseline_bytes: int
    view: View
    spills: bool

    def under(self, name: str, old: Settings, new: Settings, budget: Budget) -> "Rule":
        """Return the rule of stream `name` under `new` settings; the view is made again only if its sizes have changed.

        The manager decodes nothing, so the new view has no schemas.
        """
        stanza = new.streams[name]
        limits = {"max_aged": None, "max_age_ms": None}
        same = stanza.model_copy(update=limits) == old.streams[name].model_copy(update=limits)
        meter = replace(
            self.meter,
            budget=new.memory.budget,
            spill=new.memory.spill_budget if self.spills else None,
            max_aged=stanza.max_aged,
            max_age=max_age_of(stanza),
        )
        baseline = budget.baseline // len(new.streams)
        view = self.view if same else view_of(stanza, None)
        return replace(self, meter=meter, baseline_bytes=baseline, view=view)


@dataclass(slots=True)
class InForce:
    """Everything that a reload may change."""

    settings: Settings
    budget: Budget
    rules: Mapping[str, Rule]
    allowance: Allowance


def rules_of(plans: Mapping[str, StreamPlan], running: Mapping[str, Running]) -> dict[str, Rule]:
    """Return the rules with which the streams were started."""
    return {
        name: Rule(
            running[name].manager, cast("StreamMeter", each.meter), each.baseline_bytes, each.view, each.store is not None
        )
        for name, each in plans.items()
    }
