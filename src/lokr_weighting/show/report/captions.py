"""Every figure of a report, with its title and what to see in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from matplotlib.figure import Figure

from lokr_weighting.plan.plan import Plan
from lokr_weighting.plan.settled import Settled
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.show.changes_figure import changes_figure
from lokr_weighting.show.damage_figure import damage_by_bin_figure
from lokr_weighting.show.figures import (
    combined_figure,
    contributions_figure,
    factors_figure,
    settling_figure,
    streams_figure,
)
from lokr_weighting.show.findings_figure import findings_figure
from lokr_weighting.show.study_figures import ablation_figure, damage_figure, similarity_figure
from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.changes import AdapterStudy
from lokr_weighting.studies.damage import ranks_inside, ranks_of_skipping
from lokr_weighting.studies.findings import Finding
from lokr_weighting.studies.similarity import Similarity


@dataclass(frozen=True)
class Picture:
    """A figure with its title and what to see in it."""

    name: str
    title: str
    caption: str
    figure: Figure


def pictures(
    heatmaps: Heatmaps,
    plan: Plan,
    *,
    judged: Sequence[Settled] = (),
    similarity: Similarity | None = None,
    ablation: Ablation | None = None,
    findings: Sequence[Finding] = (),
    adapter: AdapterStudy | None = None,
) -> list[Picture]:
    """Every figure of a report, in its order."""
    drawn = [
        Picture(
            "streams",
            "Where each stream turns",
            "Mean angular distance of every block (across) and timestep bin (upwards). A distance "
            "of 0.5 is a right angle. Three scales: as it is, logarithmic, and clipped at the 95th "
            "percentile, which shows the middle blocks.",
            streams_figure(heatmaps),
        ),
        Picture(
            "factors",
            "The factor of each block",
            "A larger factor means fewer parameters. Hatched blocks are critical.",
            factors_figure(plan),
        ),
        Picture(
            "contributions",
            "What each block contributes, and what it gets",
            f"The contribution is the recipe's: clipped at the {plan.recipe.clip_percentile:g}th "
            f"percentile, averaged over the bins, {_weights(plan)}, normalised. Below, the "
            "share of all parameters.",
            contributions_figure(plan),
        ),
    ]
    if (heatmaps.has_image & heatmaps.has_text).any():
        both = Picture(
            "combined",
            "Both streams together",
            "The mean of both streams, on the same three scales.",
            combined_figure(heatmaps),
        )
        drawn.insert(1, both)
    if findings:
        marked = Picture(
            "findings",
            "What stands out",
            "The clipped heatmaps with what was found by rule: frames are islands, marks "
            "over a block are of that block. The table below says how sure each is.",
            findings_figure(heatmaps, findings),
        )
        drawn.append(marked)
    if len(judged) > 1:
        settling = Picture(
            "settling",
            "How the plan settled",
            "After so many samples, the share of resamples of them that give this plan.",
            settling_figure(judged),
        )
        drawn.append(settling)
    if similarity is not None:
        alike = Picture(
            "similarity",
            "Which blocks share a representation",
            "Mean cosine similarity of the hidden states behind every pair of blocks. Frames are "
            "groups of blocks that point the same way; white is a block without that stream.",
            similarity_figure(similarity),
        )
        drawn.append(alike)
    if ablation is not None:
        verdicts = " ".join(rank.verdict for rank in ranks_of_skipping(ablation))
        drawn += [
            Picture(
                "ablation",
                "What it costs to run blocks otherwise",
                f"The change of the training loss on {ablation.samples} samples, each with the "
                "same noise in every row.",
                ablation_figure(ablation),
            ),
            Picture(
                "distance_and_damage",
                "Did distance predict damage?",
                f"Each block's distance beside what skipping it costs. {verdicts}",
                damage_figure(ablation),
            ),
        ]
        by_timestep = damage_by_bin_figure(ablation)
        if by_timestep is not None:
            inside = " ".join(rank.verdict for rank in ranks_inside(ablation))
            picture = Picture(
                "damage_by_timestep",
                "At which timesteps blocks are missed",
                "What skipping each block costs at each timestep, beside its distances there, all "
                f"on the ablation's own samples. {inside}",
                by_timestep,
            )
            drawn.append(picture)
    if adapter is not None:
        whose = "The plan's" if adapter.plan else "The adapter's"
        did = Picture(
            "adapter",
            "What the trained adapter did",
            f"{whose} parameters in each block; how much it changes the weights, as norms; and the "
            "effective rank of the change over the most it can have, beside what random numbers "
            "use of it.",
            changes_figure(adapter),
        )
        drawn.append(did)
    return drawn


def _weights(plan: Plan) -> str:
    """How the streams are weighted, e.g. "weighted 2/3 image and 1/3 text"."""
    if all(block.text is None for block in plan.blocks):
        return "of the image alone"
    recipe, alone = plan.recipe, plan.alone
    weights = f"weighted {_share(recipe.image_weight)} image and {_share(recipe.text_weight)} text"
    return f"{weights} where a block has both" if (alone.image | alone.text).any() else weights


def _share(weight: float) -> str:
    """A weight as the fraction that it is, or else as a decimal."""
    fraction = Fraction(weight).limit_denominator(12)
    return str(fraction) if abs(fraction - weight) < 1e-9 else f"{weight:g}"
