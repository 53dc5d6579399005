"""The texts of the page, in English and Chinese; `{…}` are filled in by `Words.say`."""

from __future__ import annotations

from typing import Final

__all__ = ["LANGUAGES", "Words"]

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "title": ("Spend", "花费"),
    "clock": ("times in {zone}", "时区 {zone}"),
    "made": ("made {at}", "生成于 {at}"),
    "only": ("filter: {text}", "筛选：{text}"),
    "since": ("since {at}", "自 {at}"),
    "until": ("until {at}", "到 {at} 之前"),
    "none": ("No call matches.", "没有符合条件的调用。"),
    "held": (
        "The ledger holds {calls} calls, from {first} to {last}.",
        "账本共有 {calls} 次调用，从 {first} 到 {last}。",
    ),
    "empty": ("The ledger holds no calls yet.", "账本里还没有调用。"),
    "totals": ("Totals", "合计"),
    "exactly": ("exactly {amount}", "精确值 {amount}"),
    "calls": ("{calls} calls", "{calls} 次调用"),
    "call unit": ("calls", "次调用"),
    "call": ("Calls", "调用次数"),
    "unpriced": ("Without a known cost", "未知花费"),
    "unpriced note": ("not in any total: unknown is not zero", "不在任何合计中：未知不等于零"),
    "lost": ("{calls} more calls could not be written", "另有 {calls} 次调用未能写入"),
    "errors": ("{calls} ended in an error", "其中 {calls} 次以错误结束"),
    "of spend": ("of spend", "占花费"),
    "reported": ("reported", "厂商上报"),
    "partial": ("reported in part", "部分上报"),
    "counted": ("counted", "本地计数"),
    "estimated": ("estimated", "估算"),
    "unknown": ("usage unknown", "用量未知"),
    "over model": ("Spend by model", "各模型花费"),
    "over provider": ("Spend by provider", "各厂商花费"),
    "over": ("Spend by {key}", "各{key}花费"),
    "over note": ("One chart per currency; currencies are never added.", "每个币种一张图；不同币种从不相加。"),
    "per hour": ("per hour", "每小时"),
    "per day": ("per day", "每天"),
    "per week": ("per week", "每周"),
    "per month": ("per month", "每月"),
    "chart": (
        "{currency} {per}, {count} periods from {first} to {last}; most in {peak}: {amount}. "
        "The table below has every figure.",
        "{currency}，{per}，共 {count} 个时段，从 {first} 到 {last}；最高在 {peak}：{amount}。下方表格列出全部数值。",
    ),
    "figures": ("Figures", "数据表"),
    "table over": ("{currency} {per} by {key}", "{currency}，{per}，按{key}"),
    "period": ("Period", "时段"),
    "total": ("Total", "合计"),
    "others": ("{count} others", "其余 {count} 项"),
    "unset": ("not set", "未设置"),
    "changes": ("Price changes", "价格变动"),
    "change": ("{at}: {model}", "{at}：{model}"),
    "per million": ("{currency} per million", "{currency}／百万"),
    "per unit": ("{currency} per {per}", "{currency}／{per}"),
    "most of": ("Dearest by {key}", "花费最高的{key}"),
    "of": ("{shown} of {count}", "{count} 项中的 {shown} 项"),
    "share": ("Share", "占比"),
    "cost": ("Cost", "花费"),
    "model": ("Model", "模型"),
    "provider": ("Provider", "厂商"),
    "sources": ("Where the numbers come from", "数字的来源"),
    "source": ("Source", "来源"),
    "sources note": (
        "Tokens as the vendor reported them, or counted and estimated here where it did not.",
        "token 数由厂商上报；没有上报的部分在本地计数或估算。",
    ),
    "unpriced models": ("Unpriced calls, and what mends them", "未定价的调用及补救办法"),
    "reason": ("Reason", "原因"),
    "no reason": ("no reason was recorded", "没有记录原因"),
    "components": ("What was paid for", "花在哪里"),
    "components note": (
        "The vendors' own charges: tokens read fresh or from a cache, written, and what else is billed.",
        "厂商的各计费项：全新输入、缓存命中、输出，以及其他计费内容。",
    ),
    "component": ("Component", "计费项"),
    "whole": ("charged as a sum", "按整笔收取"),
    "against": ("Change", "变化"),
    "against note": ("Against {since} to {until}.", "与 {since} 至 {until} 相比。"),
    "cause": ("Cause", "原因"),
    "volume": ("volume: more or fewer tokens", "用量：token 增减"),
    "price": ("price: unit prices that moved", "价格：单价变动"),
    "cache share": ("cache: another share from the cache", "缓存：命中比例变动"),
    "mix": ("mix: other models and components", "结构：其他模型与计费项"),
    "changed": ("Change", "变化"),
    "before": ("Before", "之前"),
    "now": ("Now", "现在"),
    "stale_prices": ("by prices that no source has shown for long", "用的是久未见到的价格"),
    "single_source_prices": ("by prices of a single source", "用的是单一来源的价格"),
    "cache": ("What the cache saved", "缓存节省"),
    "cache note": (
        "Cached input at the price of fresh input, less what it cost: the pale part of a bar. "
        "Below zero where writing to the cache cost more than reading saved.",
        "缓存命中的输入按全新输入计价，减去实际花费，即条形的浅色部分。写入缓存的成本高于读取所省时为负。",
    ),
    "saved": ("Saved", "节省"),
    "paid": ("Paid", "实付"),
    "input": ("Input tokens", "输入 token"),
    "output": ("Output tokens", "输出 token"),
    "cached": ("From cache", "缓存命中"),
    "latency": ("Latency against cost", "耗时与花费"),
    "latency note": (
        "A point is the median call of a model; its lines reach to the call at 95%. Both scales are logarithmic.",
        "圆点是一个模型的中位调用，线段延伸到 95% 的调用。两轴均为对数刻度。",
    ),
    "latency chart": (
        "{currency}: median cost of a call against median duration, {count} models. The table below has every figure.",
        "{currency}：{count} 个模型单次调用的花费中位数与耗时中位数。下方表格列出全部数值。",
    ),
    "seconds": ("seconds", "秒"),
    "a call": ("{currency} per call", "{currency}／次"),
    "cost p50": ("Cost, median", "花费中位数"),
    "cost p95": ("Cost, 95%", "花费 95%"),
    "duration p50": ("Seconds, median", "耗时中位数（秒）"),
    "duration p95": ("Seconds, 95%", "耗时 95%（秒）"),
    "dearest": ("Dearest calls", "最贵的调用"),
    "traces": ("Dearest runs", "最贵的运行"),
    "traces note": ("A run is the calls of one trace.", "一次运行是同一 trace 中的调用。"),
    "ended": ("Ended", "结束时间"),
    "began": ("Began", "开始时间"),
    "tags": ("Tags", "标签"),
    "duration": ("Seconds", "秒"),
    "scope": ("Scope", "Scope"),
    "trace": ("Trace", "Trace"),
    "budgets": ("Budgets", "预算"),
    "budgets note": (
        "What the ledger's calls cost in each window of a budget.",
        "账本中的调用在每个预算窗口内的花费。",
    ),
    "budget": ("Budget", "预算"),
    "window": ("Window", "窗口"),
    "spent": ("Spent", "已花费"),
    "limit": ("Limit", "上限"),
    "used": ("Used", "已用"),
    "no limit": ("not known: --budgets FILE", "未知：--budgets FILE"),
    "budget chart": (
        "{budget}: {count} windows, the highest {peak} {unit} in {window}",
        "{budget}：{count} 个窗口，最高 {peak} {unit}（{window}）",
    ),
    "foot": (
        "Figures are rounded for reading. A cell shows its exact value when pointed at; "
        "tokenmeter report --format json has them all.",
        "显示的数值经过四舍五入。指向单元格可见其精确值；tokenmeter report --format json 列出全部精确值。",
    ),
    "same": ("The same figures: {command}", "同样的数据：{command}"),
}

LANGUAGES: Final = {"en": "en", "zh": "zh-CN"}
"""Languages of the page, each with the value of `lang` in HTML."""
_KEYS: Final = {
    "model": "模型", "provider": "厂商", "team": "团队", "user": "用户", "source": "来源", "region": "地域",
    "scope": "scope", "host": "主机", "status": "状态", "operation": "操作", "api": "接口", "list": "价目表",
}  # fmt: skip


class Words:
    """The texts in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.tag = LANGUAGES[language]
        self._place = list(LANGUAGES).index(language)

    def say(self, name: str, **values: str | int) -> str:
        """A text, with its blanks filled in."""
        return _TEXTS[name][self._place].format(**values)

    def key(self, name: str) -> str:
        """A report key as a word: keys of the report in the page's language, tags as they are."""
        bare = name.removeprefix("tag:")
        if self.language != "zh":
            return bare
        return _KEYS.get(bare, f" {bare} " if bare.isascii() else bare)  # Latin words stand apart from Chinese ones
