"""nvisa-tf reproduce table1: every method on the paper's data sets, beside its figures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nvisa_tf.cli.main import EXIT_FAILURE, quiet_stderr
from nvisa_tf.cli.process import end_on_signals, train_command
from nvisa_tf.config.datasets import defaults_of
from nvisa_tf.config.presets import for_features
from nvisa_tf.config.run import DataConfig
from nvisa_tf.data import load_splits
from nvisa_tf.io.files import write_text
from nvisa_tf.io.run_directory import RunDirectory
from nvisa_tf.reproduce import table1, table1_results
from nvisa_tf.reproduce.table1 import Plan
from nvisa_tf.reproduce.table1_csv import as_csv
from nvisa_tf.reproduce.table1_results import Result
from nvisa_tf.runs.jobs import Job, outcome, run_all


def plans_of(flags: argparse.Namespace) -> list[Plan]:
    """All runs of the table, from the flags; ValueError where these make no sense together."""
    table1.check_datasets(flags.datasets)
    methods = table1.methods_of(flags.methods)
    for name, epochs in (("--epochs", flags.epochs), ("--pretrain-epochs", flags.pretrain_epochs)):
        if epochs is not None and epochs < 1:
            raise ValueError(f"{name} is {epochs}; the rows of a table need 1 or more.")
    found = []
    for dataset in flags.datasets:
        train = load_splits(DataConfig(dataset=dataset, data_dir=flags.data_dir)).train
        are_features = bool(train.origin.backbone) or "backbone" in defaults_of(dataset) or (flags.features and not train.is_image)
        for entry in table1.entries(dataset, methods, flags.presets, len(train), train.is_image and not are_features, are_features):
            of_data = for_features(are_features and entry.preset not in flags.presets)
            if train.y is not None:  # as many clusters as classes, as in the paper
                of_data = {**of_data, "n_clusters": len(np.unique(train.y))}
            for seed in flags.seeds:
                common = {"data_dir": flags.data_dir, **of_data}
                found.append(table1.plan(entry, seed, Path(flags.out) / "runs", flags.epochs, common, flags.pretrain_epochs))
    return table1.merged(found)


def jobs_of(plans: Sequence[Plan]) -> tuple[list[Job], list[Job]]:
    """The autoencoders, and the other runs, each once; a row that is such an autoencoder is among the former."""
    first = list(dict.fromkeys(plan.autoencoder for plan in plans if plan.autoencoder))
    return first, [job for job in dict.fromkeys(plan.job for plan in plans) if job not in first]


def run(plans: Sequence[Plan], known: Mapping[Plan, Result], flags: argparse.Namespace) -> int:
    """Run what is neither done nor known from elsewhere, the autoencoders first, and write the table."""
    out = Path(flags.out)
    here = [plan for plan in plans if plan not in known]
    end_on_signals()  # the runs save a checkpoint and end

    def tell(text: str) -> None:
        print(text, flush=True)

    first, others = jobs_of(here)
    failed = run_all(first, flags.jobs, tell, train_command)
    without = {plan.job for plan in here if plan.autoencoder and outcome(plan.autoencoder).status != "done"}
    for job in sorted(job.folder.name for job in without):
        tell(f"{job}: not run, as its autoencoder is not there")
    failed += len(without) + run_all([job for job in others if job not in without], flags.jobs, tell, train_command)
    of_here = iter(_results(here, known))
    results = [known[plan] if plan in known else next(of_here) for plan in plans]
    write_text(out / "table1.csv", as_csv(results))
    table = table1_results.as_markdown(results)
    write_text(out / "table1.md", table)
    print(table)
    print(f"Written to {out}: {', '.join(['table1.csv', 'table1.md', *_draw(results, out)])}.")
    if failed:
        print(f"{failed} run(s) ended before their end; the same command goes on with them.")
    return EXIT_FAILURE if failed else 0


def _results(plans: Sequence[Plan], known: Mapping[Plan, Result]) -> list[Result]:
    """What came of every run here, with the criterion's choice among the seeds of each row that has all its runs here."""
    with quiet_stderr():
        from nvisa_tf.runs import restarts
    found = []
    for plan in plans:
        after = outcome(plan.job)
        report = RunDirectory.open(plan.job.folder).report() if after.status == "done" else {}
        before = outcome(plan.autoencoder).minutes if plan.autoencoder else None
        found.append(Result(plan.entry, plan.job, after, report, before or 0.0))
    elsewhere = {plan.entry for plan in known}
    chosen: set[Path] = set()
    for of_entry in table1_results.by_entry(found).values():
        done = [one.job for one in of_entry if one.is_done]
        if len(done) > 1 and of_entry[0].entry not in elsewhere:
            compared = restarts.compare([job.folder for job in done], load_splits(done[0].config.data).test.x)
            chosen.add(restarts.choose(compared, restarts.default_criterion(compared)).path)
    return [one._replace(chosen=one.job.folder in chosen) for one in found]


def _draw(results: Sequence[Result], out: Path) -> list[str]:
    """The pictures that can be drawn, by name: of the accuracies, and samples of a model of each row that has some."""
    with quiet_stderr():
        from nvisa_tf.reproduce.figures import save_samples
        from nvisa_tf.runs.workflows import load_run
    drawn = []
    done = [one for one in results if one.is_done]
    here = [one for one in done if one.job.folder.is_dir()]
    if any(one.measure("accuracy") is not None for one in done):
        table1_results.save_picture(out / "table1.png", results)
        drawn.append("table1.png")
    models = {}
    for entry, of_entry in table1_results.by_entry(here).items():
        model = load_run(of_entry[0].job.folder)[0]
        if "generate" in model.capabilities:
            models[f"{entry.paper.title}, {Path(entry.dataset).stem}"] = model
    if models:
        save_samples(out / "samples.png", models)
        drawn.append("samples.png")
    return drawn
