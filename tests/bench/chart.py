#!/usr/bin/python3
"""chart.py - draw the figures of a run as an SVG picture.

    chart.py results/NAME.json >NAME.svg

One panel for each row: a bar for each server, from zero, with its figure beside it.
"""

import json
import sys
from xml.sax.saxutils import escape

TITLES = {
    "rate1": "Sessions, one after the other",
    "rate4": "Sessions, four clients at once",
    "rate1-maildir": "Sessions, one after the other, Maildir",
    "greeting": "From connect to greeting",
    "retr-mbox": "RETR one by one, mbox",
    "retr-maildir": "RETR one by one, Maildir",
    "pipe-mbox": "RETR pipelined, mbox",
    "pipe-maildir": "RETR pipelined, Maildir",
    "big-mbox": "One message of 500 MB, mbox",
    "big-maildir": "One message of 500 MB, Maildir",
    "bad": "Unknown commands in one write",
    "idle": "Memory of an idle session",
    "open-10k-mbox": "Login and STAT, mbox of 10 000",
    "open-10k-maildir": "Login and STAT, Maildir of 10 000",
    "whole-10k-mbox": "… with LIST and UIDL, mbox of 10 000",
    "whole-10k-maildir": "… with LIST and UIDL, Maildir of 10 000",
    "open-100k-mbox": "Login and STAT, mbox of 100 000",
    "open-100k-maildir": "Login and STAT, Maildir of 100 000",
    "dele1-10k-mbox": "QUIT that removes the first of 10 000, mbox",
    "deleall-10k-mbox": "QUIT that removes all 10 000, mbox",
    "deleall-10k-maildir": "QUIT that removes all 10 000, Maildir",
    "tls-full1": "TLS sessions, full handshakes",
    "tls-full4": "TLS sessions, four clients at once",
    "tls-resumed": "TLS sessions, resumed",
    "tls-big": "One message of 500 MB over TLS",
    "tls-pipe": "RETR pipelined over TLS",
    "tls-idle": "Memory of an idle TLS session",
}
UNITS = {"sessions_per_s": "sessions/s", "messages_per_s": "messages/s", "mb_per_s": "MB/s",
         "commands_per_s": "commands/s", "greeting_us": "µs", "pss_kib": "KiB", "open_ms": "ms",
         "list_ms": "ms", "uidl_ms": "ms", "quit_ms": "ms"}
NAMES = {"stunnel-i": "stunnel each + popa3d", "stunnel": "stunnel + popa3d",
         "floor": "three bare processes"}

COLUMNS, WIDTH, MARGIN = 2, 470, 14
LABEL, BARS, BAR, STEP, TITLE = 140, 230, 13, 18, 26
HEAD, FOOT = 52, 54
STYLE = """text { font: 12px sans-serif; fill: #1f2328 }
.t { font-weight: bold } .h { font: bold 16px sans-serif } .s { fill: #59636e }
.p { fill: #1f6feb } .o { fill: #afb8c1 }"""


def figure(value):
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def text(x, y, words, css="", anchor="start"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" class="{css}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def height_of(row):
    return TITLE + STEP * (len(row["medians"]) + len(row["failed"])) + MARGIN


def panel(row, x, y):
    """One row's bars, from its upper left corner."""
    metric, medians = row["metric"], row["medians"]
    most = max((m[metric] for m in medians.values() if metric in m), default=1) or 1
    better = "more" if row["better"] == "more" else "less"
    title = TITLES.get(row["row"], row["row"])
    out = [text(x, y + 14, title, "t"),
           text(x + WIDTH - MARGIN, y + 14, f"{UNITS.get(metric, metric)}, {better} is better",
                "s", "end")]
    y += TITLE
    for name, found in medians.items():
        out.append(text(x + LABEL - 8, y + 11, NAMES.get(name, name), "", "end"))
        if metric in found:
            wide = max(found[metric] / most * BARS, 1)
            out.append(f'<rect x="{x + LABEL}" y="{y}" width="{wide:.1f}" height="{BAR}" '
                       f'class="{"p" if name == "pop3d" else "o"}"/>')
            out.append(text(x + LABEL + wide + 6, y + 11, figure(found[metric])))
        else:
            out.append(text(x + LABEL, y + 11, "failed", "s"))
        y += STEP
    return out


def draw(about):
    """The whole picture of what run saved."""
    rows = [r for r in about["rows"] if r["medians"].get("pop3d")]
    body, y = [], HEAD
    for at in range(0, len(rows), COLUMNS):
        line = rows[at:at + COLUMNS]
        for column, row in enumerate(line):
            body += panel(row, MARGIN + column * WIDTH, y)
        y += max(height_of(row) for row in line)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    width, height = MARGIN + COLUMNS * WIDTH, y + FOOT
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">', f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            text(MARGIN, 26, "pop3d beside other POP3 servers, in one interleaved run", "h")]
    foot = [text(MARGIN, y + 14, versions, "s"),
            text(MARGIN, y + 32, f"{about['date'][:10]}, {about['cpus']} x {about['cpu']}, Linux "
                 f"{about['kernel']}, load at the end {about['load_at_end']:.1f}", "s"),
            "</svg>\n"]
    return "\n".join(head + body + foot)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: chart.py results/NAME.json >NAME.svg")
    with open(sys.argv[1], encoding="ascii") as source:
        sys.stdout.write(draw(json.load(source)))
