"""More work than there is room for, and an end in the midst of it."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time

from tests.chaos.ground import QUEUE, SLOTS, Row, answered, for_seconds, gateway, gauge, segment
from tests.chaos.wire import GONE, Outcome, Target

CPU = "process_cpu_seconds_total"


async def overload(seconds: float) -> list[Row]:
    """Offer four times what the gateway can do."""
    with gateway() as live:
        target = Target.at(live.address)
        await for_seconds(3, SLOTS, lambda: segment(target))
        peak, best = await _throughput(target, 15)
        bound_s = (SLOTS + QUEUE) / peak
        pause_s, began, offered = 1 / (4 * peak), time.perf_counter(), list[asyncio.Task[Outcome]]()
        cpu_began, own_began = await gauge(target, CPU), time.process_time()
        while (now := time.perf_counter()) < began + seconds:
            offered.append(asyncio.create_task(segment(target)))
            await asyncio.sleep(max(0.0, began + len(offered) * pause_s - now))
        outcomes = await asyncio.gather(*offered)
        lasted = time.perf_counter() - began
        spent, own = await gauge(target, CPU) - cpu_began, time.process_time() - own_began
        await asyncio.sleep(2)
        after, _ = await _throughput(target, 10)
    good = answered(outcomes)
    turned_away = [outcome for outcome in outcomes if outcome.status == 503]
    times = sorted(outcome.seconds for outcome in good)
    p99 = times[int(0.99 * (len(times) - 1))]
    refusal_ms = 1e3 * statistics.median(outcome.seconds for outcome in turned_away)
    others = len(outcomes) - len(good) - len(turned_away)
    goodput, yielded = len(good) / lasted, len(good) / spent
    return [
        Row(f"4x overload for {seconds:g} s: goodput, of {peak:.1f}/s at most", ">= 90 %",
            f"{goodput / peak:.0%}", goodput >= 0.9 * peak),
        Row(f"answers for a second of the gateway's CPU time, of {best:.1f} at the peak (in "
            f"overload it gets {spent / lasted:.2f} cores, the load itself takes "
            f"{own / lasted:.2f})", ">= 90 %", f"{yielded / best:.0%}", yielded >= 0.9 * best),
        Row("p99 of accepted requests, against a full queue's wait", "<= 2x",
            f"{p99 / bound_s:.2f}x", p99 <= 2 * bound_s),
        Row(f"median refusal ({len(turned_away)} refused with Retry-After)", "< 10 ms",
            f"{refusal_ms:.1f} ms",
            refusal_ms < 10 and all("retry-after" in outcome.headers for outcome in turned_away)),
        Row("neither answered nor refused", "0", str(others), others == 0),
        Row("speed 2 s after, of the speed before", "full", f"{after / peak:.0%}",
            after >= 0.9 * peak),
    ]  # fmt: skip


async def _throughput(target: Target, seconds: float) -> tuple[float, float]:
    """Return answers to clients who never rest: by the second, and by the second of CPU time."""
    began, cpu_began = time.perf_counter(), await gauge(target, CPU)
    count = len(answered(await for_seconds(seconds, SLOTS + 2, lambda: segment(target))))
    lasted, spent = time.perf_counter() - began, await gauge(target, CPU) - cpu_began
    return count / lasted, count / spent


async def terminate_under_load() -> list[Row]:
    """Ask the server to end while clients keep asking."""
    with gateway() as live:
        target = Target.at(live.address)
        assert live.process is not None
        loading = asyncio.ensure_future(for_seconds(6, 10, lambda: segment(target)))
        await asyncio.sleep(3)
        began = time.perf_counter()
        live.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(live.process.wait, 60)
        seconds = time.perf_counter() - began
        outcomes = await loading
    lost = [o for o in outcomes if o.status == GONE and o.body != b"refused"]
    wrong = [o for o in outcomes if o.status not in {200, 503, GONE}]
    return [
        Row(f"SIGTERM under load: of {len(answered(outcomes))} answered, accepted and lost", "0",
            str(len(lost) + len(wrong)), not lost and not wrong),
        Row("exit status, and seconds to the end", "0, < 30 s", f"{status}, {seconds:.1f} s",
            status == 0 and seconds < 30),
    ]  # fmt: skip
