"""The sections of the page as markup; every text is escaped on its way in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nvisa_tf.report.charts import bar, dendrogram, line_chart
from nvisa_tf.report.clusters import cluster_sections, outlier_section
from nvisa_tf.report.text import MEASURES, counted, number_of_clusters, percent, score

NOTHING = Markup("")
MANY = 24  # clusters, from which on their sizes are in columns


def headline(content: dict[str, Any]) -> str:
    """The title of the page."""
    return f"{content['name']}: {counted(content['n_clusters'], 'cluster')}"


def body(content: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> Markup:
    """Everything that is seen."""
    sections = [
        ("sizes", "Sizes", _sizes(content, names)),
        ("number", "Number of clusters", _number(content)),
        ("clusters", "Clusters", cluster_sections(content, pictures, names)),
        ("outliers", "Outliers", outlier_section(content, pictures, names)),
        ("hierarchy", "Nearby clusters", _hierarchy(content, names)),
        ("map", "Map", _map(content, pictures, names)),
        ("training", "Training", _training(content)),
        ("scores", "Scores", _scores(content, names)),
        ("left-out", "Files left out", _left_out(content)),
        ("card", "Model card", _card(content)),
    ]
    sections = [(key, title, inner) for key, title, inner in sections if inner]
    links = NOTHING.join(Markup('<li><a href="#{}">{}</a></li>').format(key, title) for key, title, _ in sections)
    parts = NOTHING.join(
        Markup('<section id="{}" aria-labelledby="{}-title"><h2 id="{}-title">{}</h2>\n{}</section>\n').format(key, key, key, title, inner)
        for key, title, inner in sections
    )
    return Markup('{}\n<nav aria-label="Sections"><ul>{}</ul></nav>\n<main>\n{}{}</main>\n{}').format(
        _header(content, names), links, _warnings(content), parts, _FOOTER
    )


def _header(content: dict[str, Any], names: Sequence[str]) -> Markup:
    sizes, word = content["sizes"], content["word"]
    used, empty = sum(size > 0 for size in sizes), sum(size == 0 for size in sizes)
    found = f"{counted(content['n'], word)} in {counted(used, 'cluster')}, found without labels by the method {content['method']}."
    if empty:
        found += f" {'One more cluster is' if empty == 1 else f'{empty} more clusters are'} empty."
    if used > 1:
        largest, smallest = sizes.index(max(sizes)), sizes.index(min(size for size in sizes if size))
        shares = [percent(sizes[k] / content["n"]) for k in (largest, smallest)]
        found += f" The largest, {names[largest]}, has {shares[0]} of them; the smallest, {names[smallest]}, {shares[1]}."
    certainty, scores = content["certainty"], content["scores"]
    tiles = [(f"{content['n']:,}", f"{word}s"), (f"{used}", "clusters in use"), (percent(certainty["mean"]), "mean probability")]
    if scores:
        tiles.append((score(scores["accuracy"]), "accuracy against the labels"))
    else:
        tiles.append((percent(certainty["low"]), f"of {word}s below 80% probability"))
    shown = NOTHING.join(Markup("<div><dd>{}</dd><dt>{}</dt></div>").format(value, name) for value, name in tiles)
    return Markup(
        '<header><p class="eyebrow">Clustering report</p><h1>{}</h1><p class="lead">{}</p><dl class="tiles">{}</dl></header>'
    ).format(content["name"], found, shown)


def _warnings(content: dict[str, Any]) -> Markup:
    if not content["warnings"]:
        return NOTHING
    items = NOTHING.join(Markup("<li>{}</li>").format(text) for text in content["warnings"])
    return Markup(
        '<section class="warnings" aria-labelledby="warnings-title"><h2 id="warnings-title">Warnings</h2><ul>{}</ul></section>\n'
    ).format(items)


def _sizes(content: dict[str, Any], names: Sequence[str]) -> Markup:
    sizes, shown = content["sizes"], {cluster["cluster"] for cluster in content["clusters"]}
    largest = max(sizes)
    rows = []
    for k, size in enumerate(sizes):
        name = Markup('<a href="#cluster-{}">{}</a>').format(k, names[k]) if k in shown else Markup("<span>{}</span>").format(names[k])
        rows.append(
            Markup('<li>{}{}<span class="count">{}</span><span class="share">{}</span></li>').format(
                name, bar(size / largest, k), f"{size:,}", percent(size / content["n"])
            )
        )
    return Markup('<ol class="sizes card{}">{}</ol>').format(" many" if len(rows) > MANY else "", NOTHING.join(rows))


def _number(content: dict[str, Any]) -> Markup:
    """How the number of clusters was found, where it was; pages of versions before have nothing of it."""
    found = content.get("number_of_clusters")
    if found is None:
        return NOTHING
    points = sorted(found["curve"])
    series = [
        {"name": "mean of the parts, with most clusters", "x": [number for number, _, _ in points], "y": [value for _, value, _ in points]}
    ]
    chart = {"title": "Modularity", "unit": "", "series": series, "across": "number of clusters"}
    method = (
        "Neighbouring examples were joined to a graph, whose communities are counted where their modularity is the largest. Communities "
        "without a fall of density between them count as one."
    )
    drawing = line_chart(chart, len(content["curves"])) if len({number for number, _, _ in points}) > 1 else NOTHING
    return Markup('<p>{}</p><p>{}</p><div class="charts">{}</div>').format(number_of_clusters(found), method, drawing)


def _hierarchy(content: dict[str, Any], names: Sequence[str]) -> Markup:
    """Which clusters are near each other; pages of versions before have nothing of it."""
    found = content.get("hierarchy")
    if found is None:
        return NOTHING
    text = (
        "Clusters that join far to the left are near each other, by the Bhattacharyya distance of Gaussians in the latent space. "
        "nvisa-tf merge makes one cluster of several."
    )
    return Markup('<p>{}</p><div class="card scroll" tabindex="0" role="region" aria-label="Nearby clusters">{}</div>').format(
        text, dendrogram(found["clusters"], found["joins"], names)
    )


def _map(content: dict[str, Any], pictures: Sequence[str], names: Sequence[str]) -> Markup:
    drawn, word = content["map"], content["word"]
    n, total = len(drawn["x"]), content["n"]
    what = f"All {counted(n, word)}," if n == total else f"{n:,} of the {total:,} {word}s, evenly spread over the data,"
    text = f"{what} placed by {drawn['how']}"
    sheet = NOTHING
    if "sheet" in drawn:
        if (cells := len(drawn["sheet"]["cells"])) < n:
            text += f" {cells:,} of them have a thumbnail."
        number = drawn["sheet"]["picture"]
        sheet = Markup('<img data-picture="{}" src="{}" id="sheet" alt="" hidden>').format(number, pictures[number])
    sizes = content["sizes"]
    legend = NOTHING.join(
        Markup('<li><button type="button" class="toggle c{}" data-cluster="{}" aria-pressed="true"><i></i>{}</button></li>').format(
            k, k, names[k]
        )
        for k in range(len(names))
        if sizes[k]
    )
    return Markup(
        '<p>{}</p><div class="card map"><div id="plot"><canvas id="points" tabindex="0" role="img" aria-label="{}"></canvas></div>{}'
        '<div class="legend"><p class="tools"><button type="button" id="all">Show all</button> '
        '<button type="button" id="none">Hide all</button></p>'
        '<ul id="legend" aria-label="Clusters on the map">{}</ul></div></div>'
        '<p class="hint needs-script">Point at, tap or reach by the arrow keys any {} to see what it is. '
        "Press a cluster to hide or show it.</p>"
        "<noscript><p>The map needs JavaScript, which this reader does not run; open the file in a browser.</p></noscript>"
    ).format(text, f"Map of the {word}s; the arrow keys go from one to the next", sheet, legend, word)


def _training(content: dict[str, Any]) -> Markup:
    charts = NOTHING.join(line_chart(chart, i) for i, chart in enumerate(content["curves"]))
    return Markup('<div class="charts">{}</div>').format(charts) if charts else NOTHING


def _scores(content: dict[str, Any], names: Sequence[str]) -> Markup:
    scores = content["scores"]
    if not scores:
        return NOTHING
    examples = counted(scores["of"], content["word"])
    of = f"{examples} that were held out" if scores["held_out"] else f"all {examples}"
    tiles = NOTHING.join(
        Markup("<div><dd>{}</dd><dt>{}</dt></div>").format(score(scores[name]), title)
        for name, title in (("accuracy", "accuracy"), ("nmi", "NMI"), ("ari", "ARI"))
    )
    text = Markup(
        "<p>Of {}. Labels were not used in training. Accuracy is the share that is right under the best pairing of clusters with classes; "
        "NMI (normalized mutual information) and ARI (adjusted Rand index) need no pairing.</p>"
    ).format(of)
    table = _measures(scores["measures"], scores["held_out"])
    return Markup('{}<dl class="tiles">{}</dl>{}{}').format(text, tiles, table, _confusion(scores["confusion"], names))


def _measures(rows: Sequence[Sequence[Any]], held_out: bool) -> Markup:
    """The measures of papers, beside each other."""
    if not rows:
        return NOTHING
    of = ["held out" if held_out else "all", "training data"][: len(rows[0]) - 1]
    head = NOTHING.join(Markup('<th scope="col">{}</th>').format(name) for name in of)
    body = NOTHING.join(
        Markup('<tr><th scope="row">{}</th>{}<td>{}</td></tr>').format(
            MEASURES[name][0], NOTHING.join(Markup("<td>{}</td>").format(score(value)) for value in values), MEASURES[name][1]
        )
        for name, *values in rows
    )
    return Markup(
        '<div class="scroll card" tabindex="0" role="region" aria-label="Measures"><table>'
        '<caption>What papers report, which is not all the same</caption><thead><tr><td></td>{}<th scope="col">what it is</th></tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(head, body)


def _confusion(table: dict[str, Any] | None, names: Sequence[str]) -> Markup:
    if table is None:
        return Markup("<p>There are too many classes and clusters for a table; the commonest classes stand with each cluster.</p>")
    head = NOTHING.join(Markup('<th scope="col">{}</th>').format(names[k]) for k in table["clusters"])
    rows = []
    for name, counts in zip(table["classes"], table["counts"], strict=True):
        total = sum(counts) or 1
        cells = NOTHING.join(
            Markup('<td class="h{}">{}</td>').format(round(10 * count / total), f"{count:,}" if count else "·") for count in counts
        )
        rows.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(name, cells))
    return Markup(
        '<div class="scroll card" tabindex="0" role="region" aria-label="Classes against clusters"><table class="heat">'
        "<caption>Classes (rows) against clusters (columns, the best matching first)</caption>"
        "<thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(head, NOTHING.join(rows))


def _left_out(content: dict[str, Any]) -> Markup:
    if not content["left_out"]:
        return NOTHING
    rows = NOTHING.join(Markup('<tr><th scope="row">{}</th><td>{}</td></tr>').format(name, why) for name, why in content["left_out"])
    total = content["n_left_out"]
    text = f"{counted(total, 'file')} could not be read and {'is' if total == 1 else 'are'} in no cluster."
    if total > len(content["left_out"]):
        text += f" The first {len(content['left_out'])} are listed."
    return Markup(
        '<p>{}</p><div class="scroll card" tabindex="0" role="region" aria-label="Files left out"><table class="plain">'
        "<tbody>{}</tbody></table></div>"
    ).format(text, rows)


def _card(content: dict[str, Any]) -> Markup:
    groups = []
    for group in content["card"]:
        if all(not term for term, _ in group["rows"]):
            inner = Markup("<ul>{}</ul>").format(NOTHING.join(Markup("<li>{}</li>").format(text) for _, text in group["rows"]))
        else:
            pairs = NOTHING.join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(term, text) for term, text in group["rows"])
            inner = Markup("<dl>{}</dl>").format(pairs)
        groups.append(Markup('<div class="card"><h3>{}</h3>{}</div>').format(group["title"], inner))
    return Markup('<div class="facts">{}</div>').format(NOTHING.join(groups))


_FOOTER = Markup("<footer><p>Written by nvisa-tf. This file holds everything it shows and loads nothing.</p></footer>")
