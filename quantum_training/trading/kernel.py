"""The accounting, compiled: one account per column, bar by bar. Checks and frames live in simulator.py.

Imports numba, so it is imported where it is used. Compiled without fastmath: the plain-Python reference in the tests
gives the same bits.
"""

from __future__ import annotations

import numpy as np

from quantum_training.trading.compiled import compiled

NAMES = ("fee", "slippage", "per_share", "minimum", "cap", "borrow", "funding", "leverage", "band", "whole_units")
RULES = np.dtype([(name, "f8") for name in NAMES])


@compiled(inline="always")
def commission(quantity, fill, rule):
    """Money that a fill of `quantity` > 0 units at price `fill` costs beside the slippage."""
    value = quantity * fill
    return rule.fee * value + min(max(rule.per_share * quantity, rule.minimum), rule.cap * value)


@compiled(inline="always")
def carry(cash, value, rule):
    """Money that holding a position of this signed value over one bar costs: borrowing and funding."""
    return rule.borrow * (max(-cash, 0.0) + max(-value, 0.0)) + rule.funding * value


@compiled
def payable(cash, units, price, side, fill, rule):
    """The most units that may be traded towards `side` so that position value <= leverage * equity, costs paid.

    The commission is min(C, max(A, B)) of three costs linear in the quantity, so the answer is max(q_C, min(q_A, q_B)).
    An order that only reduces the position is always payable.
    """
    budget = rule.leverage * cash + (rule.leverage - side) * units * price  # not equity - value: that cancels
    unit = rule.leverage * (abs(fill - price) + rule.fee * fill)
    by_share = budget / (price + unit + rule.leverage * rule.per_share)
    by_minimum = (budget - rule.leverage * rule.minimum) / (price + unit)
    by_cap = budget / (price + unit + rule.leverage * rule.cap * fill)
    return max(max(by_cap, min(by_share, by_minimum)), max(-side * units, 0.0))


@compiled
def order(cash, units, price, goal, rule, extra):
    """Trade at the open `price` towards a position of `goal` times equity. Returns cash, units and the cost.

    extra: slippage beside the rule's.
    """
    target_units = goal * (cash + units * price) / price if goal != 0 else 0.0
    if rule.whole_units:
        target_units = np.trunc(target_units)
    traded = target_units - units
    quantity = abs(traded)
    if quantity == 0:
        return cash, units, 0.0
    side = 1.0 if traded > 0 else -1.0
    fill = price * (1 + side * (rule.slippage + extra))
    limit = payable(cash, units, price, side, fill, rule)
    to_the_cent = side > 0 and rule.leverage == 1
    if quantity > limit:
        quantity = limit if not rule.whole_units else np.floor(limit) + (1 if to_the_cent else 0)
    while to_the_cent and quantity > 0 and units + quantity > 0:
        if cash - (quantity * fill + commission(quantity, fill, rule)) >= 0:
            break
        quantity = np.nextafter(quantity, 0.0)
        if rule.whole_units:
            quantity = np.floor(quantity)
    if quantity == 0:
        return cash, units, 0.0
    paid = commission(quantity, fill, rule)
    cash = cash - (quantity * fill + paid) if side > 0 else cash + (quantity * fill - paid)
    return cash, units + side * quantity, quantity * abs(fill - price) + paid


@compiled(inline="always")
def settle(units, cash, current, ruined, goal, price, close, extra, rule, carries):
    """One bar of an account: fill a new goal at the open `price`, pay the carry, mark at the close.

    current: the target in force; ruined: was the equity ever not positive. extra: slippage of this bar beside the
    rule's, NaN if nobody traded in it: the target in force then stays. carries: does holding cost anything.
    Returns units, cash, target in force, ruined, equity and cost.
    """
    cost = 0.0
    equity = cash + units * price
    if equity <= 0:
        ruined = True
    if ruined:
        goal = 0.0
    if goal != current and not np.isnan(extra):
        current = goal
        if goal == 0 or abs(goal - units * price / equity) > rule.band:
            cash, units, cost = order(cash, units, price, goal, rule, extra)
    value = units * close
    if carries and units != 0:
        paid = carry(cash, value, rule)
        cash -= paid
        cost += paid
    equity = cash + value
    if equity <= 0:
        ruined = True
    return units, cash, current, ruined, equity, cost


@compiled
def run(
    opens,
    closes,
    extras,
    target,
    rules,
    start_units,
    start_cash,
    start_target,
    units_out,
    cash_out,
    equity_out,
    cost_out,
):
    """Account for every column. Arrays are (columns, bars); all before `target`, and rules, may have one row for all.

    extras: as `extra` of settle.
    start_units, start_cash, start_target: (columns,), the account before the first bar and the target then in force.
    Writes units, cash, equity and cost of each bar into the last four, of the shape of `target`.
    """
    columns, bars = target.shape
    for c in range(columns):
        rule = rules[c % len(rules)]
        open_, close, goals = opens[c % len(opens)], closes[c % len(closes)], target[c]
        extra = extras[c % len(extras)]
        out_units, out_cash, out_equity, out_cost = units_out[c], cash_out[c], equity_out[c], cost_out[c]
        carries = rule.borrow != 0 or rule.funding != 0
        units, cash, current, ruined = start_units[c], start_cash[c], start_target[c], False
        for t in range(bars):
            units, cash, current, ruined, equity, cost = settle(
                units, cash, current, ruined, goals[t], open_[t], close[t], extra[t], rule, carries
            )
            out_units[t], out_cash[t], out_equity[t], out_cost[t] = units, cash, equity, cost


@compiled
def all_within(values, low, high):
    """Is every value of a 2-d array in [low, high]? NaN is not. Counts without branching, which compilers vectorise."""
    outside = 0
    for row in values:
        for value in row:
            outside += not low <= value <= high
    return outside == 0
