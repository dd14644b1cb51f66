"""The page "where EdgeSplit loses and why", made from the rows."""

from collections import Counter
from collections.abc import Sequence

from experiments.head_to_head.loss import CAUSES, LAST, main_causes
from experiments.head_to_head.rows import EVEN, Row
from experiments.head_to_head.targets import ELSEWHERE, cells_of, standing
from experiments.shared.report import markdown_table


def losses_page(rows: Sequence[Row], lost: Sequence[Row], definition: str) -> str:
    """Cells in which ours is above the best other causal policy by more than noise."""
    count, lost = len(cells_of(rows)), sorted(lost, key=lambda row: -row["over"])
    stands = [standing(cell) for cell in cells_of(rows).values()]
    far = [row for row in lost if row["over"] > ELSEWHERE]
    lines = [
        "# Where EdgeSplit loses, and why\n",
        f"Made from the results; {definition}\n",
        f"In {len(lost)} of {count} cells EdgeSplit's mean score is above that of the best other "
        f"causal policy by more than noise (95 %, paired) and by more than {EVEN:.1%}; in "
        f"{len(far)} of them by more than {ELSEWHERE:.0%}.\n",
        "The others are told of links and tiers for nothing. EdgeSplit has the least score in "
        f"{sum(one['is_least'] for one in stands)} cells so, and in "
        f"{sum(one['is_least_charged'] for one in stands)} if the others paid the joules of "
        "its probes, those on one tier excepted: they need to know nothing.\n",
    ]
    if lost:
        lines += ["## Why\n", *_reasons(lost), "\n## Cell by cell\n", _table(lost)]
    return "\n".join(lines)


def _reasons(lost: Sequence[Row]) -> list[str]:
    """Causes by how often they are the first one."""
    first = Counter(main_causes(row)[0][0] for row in lost if main_causes(row))
    lines = [
        "Each request's difference in score has one cause, by rules: "
        f"`behind` is a plan that the other policy had within its last {LAST} requests.\n"
    ]
    for cause, count in first.most_common():
        lines.append(f"- **{cause}** comes first in {count}: {CAUSES[cause]}.")
    rivals = Counter(row["rival"] for row in lost)
    names = ", ".join(f"{name} ({count})" for name, count in rivals.most_common())
    lines.append(f"- The policy that is ahead: {names}.")
    return lines


def _table(lost: Sequence[Row]) -> str:
    return markdown_table(
        [
            {
                "model": row["model"],
                "condition": row["condition"],
                "goal": row["goal"],
                "best other": row["rival"],
                "score": f"{row['score']:.4f}",
                "its score": f"{row['rival_score']:.4f}",
                "above by": f"{row['over']:.1%} ({row['low']:.1%} to {row['high']:.1%})",
                "of which": ", ".join(f"{c} {s:.0%}" for c, s in main_causes(row)) or "-",
            }
            for row in lost
        ]
    )
