"""The section of the page with a card for each cluster: its pictures, or what its values are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from nvisa_tf.report.charts import difference_bar
from nvisa_tf.report.text import counted, percent

NOTHING = Markup("")
SMALL = 4  # pictures of a kind, up to which cards stand side by side
PIXELS = 16  # of a side, up to which a picture is enlarged by whole pixels
KINDS = {"typical": "Most typical", "uncertain": "Least certain", "odd": "Odd ones"}
FULL = 2.0  # standard deviations, at which a bar of a difference is full; the largest difference of the cluster if that is more


def cluster_sections(content: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> Markup:
    """An explanation, a card for each cluster that is shown, and the table of all means, where there is one."""
    word, shown = content["word"], content["clusters"]
    used = sum(size > 0 for size in content["sizes"])
    if pictures:
        text = (
            f"A sample of each cluster's own {word}s: the most typical lie nearest to the cluster's middle; of the least certain the model "
            "doubts the cluster; odd ones are reconstructed worst."
        )
    else:
        text = (
            f"What tells each cluster apart: the {content['value_word']}s whose mean differs the most from the mean of all, in standard "
            "deviations (sd) of all."
        )
    if used > len(shown):
        text += f" The {len(shown)} largest of {used} clusters are shown."
    layout = " profiles" if not pictures else " small" if all(len(one["groups"]["typical"]) <= SMALL for one in shown) else ""
    cards = NOTHING.join(_cluster(content, cluster, pictures, names) for cluster in shown)
    return Markup('<p>{}</p><div class="cards{}">{}</div>{}').format(text, layout, cards, _means(content, names))


def outlier_section(content: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> Markup:
    """The examples that are unlike all others; pages of versions before have nothing of them."""
    found = content.get("outliers")
    if found is None:
        return NOTHING
    count, rate, shown = found["count"], percent(found["rate"]), found["shown"]
    share, is_or_are = percent(count / content["n"]), "is" if count == 1 else "are"
    text = (
        f"{counted(count, content['word'])} of {content['n']:,} ({share}) {is_or_are} unlike the training data, at limits that take {rate} "
        f"of {content['word']}s like the training data for outliers too."
    )
    if count > len(shown):
        text += f" The {len(shown)} most unlike are shown."
    if not shown:
        return Markup("<p>{}</p>").format(text)
    if pictures:
        pixels = " pixels" if min(content["shape"][:2]) <= PIXELS else ""
        items = NOTHING.join(_thumbnail("unlike", example, pictures, names) for example in shown)
        return Markup('<p>{}</p><ul class="gallery{}">{}</ul>').format(text, pixels, items)
    rows = NOTHING.join(
        Markup('<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>').format(
            example["name"], f"{example['novelty']:.3g}", names[example["cluster"]]
        )
        for example in shown
    )
    return Markup(
        '<p>{}</p><div class="scroll card" tabindex="0" role="region" aria-label="Outliers"><table>'
        '<thead><tr><th scope="col">{}</th><th scope="col">distance, 1 is the limit</th><th scope="col">nearest cluster</th></tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(text, content["id_name"], rows)


def _cluster(content: dict[str, Any], cluster: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> Markup:
    k, size = cluster["cluster"], content["sizes"][cluster["cluster"]]
    facts = [counted(size, content["word"]), percent(size / content["n"]), f"mean probability {percent(cluster['certainty'])}"]
    if names[k] != f"cluster {k}":
        facts.insert(0, f"cluster {k}")
    lines = Markup('<p class="quiet">{}</p>').format(" · ".join(facts))
    if "classes" in cluster:
        classes = ", ".join(f"{name} {percent(share)}" for name, share in cluster["classes"])
        lines += Markup('<p class="quiet">By the labels: {}</p>').format(classes)
    inner = (
        _gallery(content["shape"], cluster, pictures, names) if pictures else _profile(content, cluster) + _named(content, cluster, names)
    )
    return Markup(
        '<article class="card" id="cluster-{}" aria-labelledby="cluster-{}-title"><h3 id="cluster-{}-title" class="c{}"><i></i>{}</h3>'
        "{}{}</article>\n"
    ).format(k, k, k, k, names[k], lines, inner)


def _gallery(shape: Sequence[int], cluster: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> Markup:
    groups, pixels = [], " pixels" if min(shape[:2]) <= PIXELS else ""
    for kind, title in KINDS.items():
        shown = cluster["groups"][kind]
        if shown:
            items = NOTHING.join(_thumbnail(kind, example, pictures, names) for example in shown)
            groups.append(Markup('<div class="group {}"><h4>{}</h4><ul class="gallery{}">{}</ul></div>').format(kind, title, pixels, items))
    return Markup('<div class="groups">{}</div>').format(NOTHING.join(groups))


def _thumbnail(kind: str, example: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> Markup:
    number = example["picture"]
    text = f"{example['name']}\n{_certainty(example, names)}"
    caption = Markup("<span>{}</span>").format(percent(example["probability"])) if kind == "uncertain" else NOTHING
    return Markup('<li><button type="button" class="thumb" title="{}"><img data-picture="{}" src="{}" alt="{}">{}</button></li>').format(
        text, number, pictures[number], example["name"], caption
    )


def _certainty(example: dict[str, Any], names: Sequence[str]) -> str:
    text = f"probability {percent(example['probability'])}"
    if len(names) > 1 and example["second_probability"] >= 0.01:
        text += f", then {names[example['second']]} {percent(example['second_probability'])}"
    return text


def _profile(content: dict[str, Any], cluster: dict[str, Any]) -> Markup:
    k, features = cluster["cluster"], cluster["features"]
    if not features:
        text = f"No {content['value_word']}'s mean differs from the mean of all by a tenth of a standard deviation or more."
        return Markup("<p>{}</p>").format(text)
    largest = max(FULL, *(abs(feature["difference"]) for feature in features))
    rows = []
    for feature in features:
        whole = f"{feature['whole']} ± {feature['sd']}" if feature["sd"] else feature["whole"]
        sign = "+" if feature["difference"] > 0 else "\N{MINUS SIGN}"
        rows.append(
            Markup(
                '<tr><th scope="row">{}</th><td class="mean">{}</td><td><span class="narrow">of all </span>{}</td>'
                '<td class="against">{}<span>{}{} sd</span></td></tr>'
            ).format(
                breakable(feature["name"]),
                feature["mean"],
                whole,
                difference_bar(feature["difference"], largest, k),
                sign,
                f"{abs(feature['difference']):.1f}",
            )
        )
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="Profile"><table class="profile">'
        '<thead><tr><td></td><th scope="col">mean here</th>'
        '<th scope="col">mean ± sd of all</th><th scope="col">difference</th></tr></thead><tbody>{}</tbody></table></div>'
    ).format(NOTHING.join(rows))


def breakable(text: str) -> Markup:
    """A name that may be broken where a person would break it."""
    return Markup("<wbr>").join(re.split(r"(?<=[_/.=-])", text))


def _named(content: dict[str, Any], cluster: dict[str, Any], names: Sequence[str]) -> Markup:
    """The examples of each kind by name, where there are no pictures."""
    lines = []
    for kind, title in KINDS.items():
        if shown := cluster["groups"][kind]:
            if kind == "uncertain":
                items = (f"{example['name']}: {_certainty(example, names)}" for example in shown)
                what = Markup("<ul>{}</ul>").format(NOTHING.join(Markup("<li>{}</li>").format(item) for item in items))
            else:
                what = escape(", ".join(example["name"] for example in shown))
            lines.append(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(f"{title} ({content['id_name']})", what))
    return Markup('<dl class="named">{}</dl>').format(NOTHING.join(lines))


def _means(content: dict[str, Any], names: Sequence[str]) -> Markup:
    means = content["means"]
    if not means:
        return NOTHING
    head = NOTHING.join(Markup('<th scope="col">{}</th>').format(names[k]) for k in means["clusters"])
    rows = []
    for row in means["rows"]:
        cells = NOTHING.join(
            Markup('<td class="{}">{}</td>').format(_shade(difference), mean)
            for mean, difference in zip(row["means"], row["differences"], strict=True)
        )
        rows.append(Markup('<tr><th scope="row">{}</th><td>{}</td>{}</tr>').format(breakable(row["name"]), row["whole"], cells))
    word = content["value_word"]
    if len(means["rows"]) == means["of"]:
        which = f"all {counted(means['of'], word)}"
    else:
        which = f"the {len(means['rows'])} of {means['of']:,} {word}s that tell clusters apart the best"
    return Markup(
        '<details class="card"><summary>Means of {}</summary>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Means"><table class="heat">'
        '<thead><tr><td></td><th scope="col">all</th>{}</tr></thead><tbody>{}</tbody></table></div>'
        '<p class="quiet">Blue: above the mean of all, orange: below it; the stronger, the more standard deviations.</p></details>'
    ).format(which, head, NOTHING.join(rows))


def _shade(difference: float) -> str:
    step = min(4, round(2 * abs(difference)))
    return f"{'up' if difference > 0 else 'down'}{step}" if step else ""
