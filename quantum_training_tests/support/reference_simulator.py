"""The simulator once more in plain Python, written from its rules, not from its kernel. Slow, short, and an oracle."""

import math

import numpy as np


def commission(quantity, fill, costs):
    value = quantity * fill
    return costs.fee_bps / 1e4 * value + min(max(costs.per_share * quantity, costs.minimum), costs.cap * value)


def payable(cash, units, price, side, fill, costs, leverage):
    """Largest order that leaves |units| * price <= leverage * equity, costs paid; closing is always payable."""
    budget = leverage * cash + (leverage - side) * units * price
    unit = leverage * (abs(fill - price) + costs.fee_bps / 1e4 * fill)
    with_share = budget / (price + unit + leverage * costs.per_share)
    with_minimum = (budget - leverage * costs.minimum) / (price + unit)
    with_cap = budget / (price + unit + leverage * costs.cap * fill)
    return max(with_cap, min(with_share, with_minimum), -side * units, 0.0)


def trade(cash, units, price, goal, costs, account, extra):
    target_units = goal * (cash + units * price) / price if goal != 0 else 0.0
    if account.whole_units:
        target_units = float(math.trunc(target_units))
    side = 1.0 if target_units > units else -1.0
    quantity = abs(target_units - units)
    if quantity == 0:
        return cash, units, 0.0
    fill = price * (1 + side * (costs.slippage_bps / 1e4 + extra))
    limit = payable(cash, units, price, side, fill, costs, account.max_leverage)
    cash_buys_all = side > 0 and account.max_leverage == 1
    if account.whole_units:
        if quantity > limit:
            quantity = float(math.floor(limit)) + (1 if cash_buys_all else 0)
    else:
        quantity = min(quantity, limit)

    def overdrawn(q):
        return cash_buys_all and units + q > 0 and cash - (q * fill + commission(q, fill, costs)) < 0

    while quantity > 0 and overdrawn(quantity):
        quantity = math.nextafter(quantity, 0.0)
        if account.whole_units:
            quantity = float(math.floor(quantity))
    if quantity == 0:
        return cash, units, 0.0
    paid = commission(quantity, fill, costs)
    cash = cash - (quantity * fill + paid) if side > 0 else cash + (quantity * fill - paid)
    return cash, units + side * quantity, quantity * abs(fill - price) + paid


def simulate(candles, target, costs, account, start_position=0.0, entry=None):
    """Rows (units, cash, equity, cost) per bar, as Python floats."""
    units = start_position * account.capital / entry if start_position else 0.0
    if account.whole_units:
        units = float(math.trunc(units))
    cash = account.capital - units * (entry or 0.0)
    in_force, ruined, reports_volume, rows = float(start_position), False, False, []
    volume = candles["volume"] if "volume" in candles else np.ones(len(candles))
    bars = zip(*(map(float, s) for s in (candles["open"], candles["close"], target, volume)), strict=True)
    for price, close, goal, traded in bars:
        reports_volume = reports_volume or traded > 0
        is_untraded = reports_volume and traded == 0
        waits = is_untraded and costs.untraded_slippage_bps is None
        extra = (costs.untraded_slippage_bps or 0.0) / 1e4 if is_untraded else 0.0
        cost = 0.0
        equity = cash + units * price
        ruined = ruined or equity <= 0
        if ruined:
            goal = 0.0
        if goal != in_force and not waits:
            in_force = goal
            if goal == 0 or abs(goal - units * price / equity) > account.no_trade_band:
                cash, units, cost = trade(cash, units, price, goal, costs, account, extra)
        value = units * close
        if units != 0:
            borrowed = max(-cash, 0.0) + max(-value, 0.0)
            carry = costs.borrow_bps / 1e4 * borrowed + costs.funding_bps / 1e4 * value
            cash -= carry
            cost += carry
        equity = cash + value
        ruined = ruined or equity <= 0
        rows.append((units, cash, equity, cost))
    return rows
