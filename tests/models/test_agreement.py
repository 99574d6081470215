"""Which networks answer, and how: on answers that are made up, against scikit-learn and the consensus that they come from."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import sem
from sklearn.metrics import mutual_info_score

from nvisa_tf import Dataset, clustering_accuracy
from nvisa_tf.clustering.consensus import average, link, matching, shares
from nvisa_tf.clustering.mixtures import spread_rows
from nvisa_tf.models import agreement
from nvisa_tf.models.agreement import choose_answer, groups_in_order, linked, matched, of_best_heads, standard_error

N, K, HEADS, FINE = 300, 2, 5, 6
Y = np.arange(N) % K


class Networks:
    """Of a stage, networks that have these nats by their two best heads, and whose heads are right as often as `right` says.

    Of eight images, the nats of the networks `compared` differ by 0.01 more and by 0.01 less in turn: of the mean difference the standard
    error is `SE`.
    """

    cluster_seed = 0

    def __init__(self, is_taught, nats, right=0.95, compared=(0,)):
        self.candidates = [SimpleNamespace(name=f"one_{index}", is_taught=taught) for index, taught in enumerate(is_taught)]
        self.model = SimpleNamespace(config=SimpleNamespace(n_clusters=K))
        of_images = np.tile(np.array(nats), [8, 1])
        of_images[:, compared] += 0.01 * np.tile([1, -1], 4)[:, None]
        self.of_heads = of_images[..., None] + np.array([-0.7, 0.1, -0.5, -0.1, -0.3])
        rng, self.heads, self.fine, self.changed = np.random.default_rng(0), [], [], []
        for each in np.broadcast_to(right, [len(nats)]):
            flips = rng.random((4, N, HEADS)) > each
            part = rng.integers(FINE // K, size=(N, HEADS))
            fine = [self.sure(FINE // K * ((Y[:, None] + flip) % K) + part, FINE) for flip in flips[1:]]
            self.heads.append(self.sure((Y[:, None] + flips[0]) % K, K))
            self.fine.append(fine[0])
            self.changed.append(np.concatenate(fine[1:]))  # all images changed, and all once more

    @staticmethod
    def sure(clusters, n_clusters):
        return softmax(4.0 * np.eye(n_clusters)[clusters], -1).astype(np.float32)

    def judge(self):
        return self.of_heads

    def answers(self, candidate, data, fine=False):
        return (self.fine if fine else self.heads)[self.candidates.index(candidate)][data.x]

    def held_out_fine(self, networks):
        """All examples stand for those that are held out."""
        return tuple([one for index in networks for one in np.swapaxes(of[index], 0, 1)] for of in (self.fine, self.changed))

    def all_heads(self, networks, fine=False):
        return [one for index in networks for one in np.swapaxes((self.fine if fine else self.heads)[index], 0, 1)]


SE = sem(0.01 * np.tile([1, -1], 4))


@pytest.fixture
def data():
    return Dataset("rows", np.arange(N), Y)


def test_a_network_is_judged_by_its_two_best_heads():
    information = np.array([[[0.0, 0.9, 0.2], [0.3, 0.3, 0.1]], [[0.2, 0.1, 0.2], [0.3, 0.3, np.nan]]])
    np.testing.assert_allclose(of_best_heads(information), [[0.55, np.nan], [0.15, np.nan]])  # the second and third head of the first


def test_the_standard_error_is_scipys(rng):
    differences = rng.normal(size=30)
    assert standard_error(differences) == pytest.approx(sem(differences))
    assert standard_error(differences[:1]) == np.inf


def test_networks_of_a_group_come_in_order_without_those_that_diverged():
    nats = np.array([0.1, np.nan, 0.3, 0.2, 0.9])
    assert groups_in_order(Networks((True, True, True, True, False), nats), nats) == ([2, 3, 0], [4])
    assert groups_in_order(Networks((False,), nats[:1]), nats[:1]) == ([], [0])


def test_all_heads_of_two_taught_networks_are_matched_where_the_best_of_these_does_clearly_better(data):
    stage = Networks((True, True, True, False, False), (0.5, 0.55, 0.45, 0.51, 0.55 - 2.1 * SE), compared=(1,))
    answer, report = choose_answer(stage, data)
    heads = stage.all_heads((1, 0))
    np.testing.assert_allclose(answer.probabilities(data), average(heads, [matching(heads[0], one) for one in heads]))
    assert report.pop("standard_error") == pytest.approx(SE, abs=1e-5)
    assert report.pop("best") == pytest.approx({"from random weights": 0.55 - 2.1 * SE, "taught contrastive clusters": 0.55}, abs=1e-5)
    assert report.pop("tries")["one_2"] == 0.45
    assert report == {"told_apart": True, "clusters": "matched", "heads": {"one_1": HEADS, "one_0": HEADS}}


@pytest.mark.parametrize("errors", [1.9, -1.9])
def test_groups_that_cannot_be_told_apart_answer_together(data, errors):
    stage = Networks((True, True, False, False, False), (0.5, 0.55, 0.4, 0.55 + errors * SE, 0.45), compared=(1,))
    answer, report = choose_answer(stage, data)
    heads = stage.all_heads((1, 0, 3, 4))
    np.testing.assert_allclose(answer.probabilities(data), average(heads, [matching(heads[0], one) for one in heads]))
    assert (report["told_apart"], report["clusters"]) == (False, "matched")
    assert report["heads"] == {"one_1": HEADS, "one_0": HEADS, "one_3": HEADS, "one_4": HEADS}


def test_of_one_held_out_image_no_difference_tells_groups_apart(data):
    stage = Networks((True, False), (0.2, 0.5))
    stage.of_heads = stage.of_heads[:1]
    report = choose_answer(stage, data)[1]
    assert (report["told_apart"], report["standard_error"], list(report["heads"])) == (False, None, ["one_0", "one_1"])


def test_fine_clusters_are_linked_where_the_best_network_from_random_weights_does_clearly_better(data, monkeypatch):
    monkeypatch.setattr(agreement, "COMPARED", 150)
    stage = Networks((True, False, False), (0.3 - 2.1 * SE, 0.3, 0.15), compared=(0,))
    answer, report = choose_answer(stage, data)
    assert report["best"] == pytest.approx({"from random weights": 0.3, "taught contrastive clusters": 0.3 - 2.1 * SE}, abs=1e-5)
    assert (report["told_apart"], report["clusters"], report["heads"]) == (True, "linked", {"one_1": HEADS, "one_2": HEADS})
    fine, rows = stage.all_heads((1, 2), fine=True), spread_rows(N, 150, 0)
    clusters = link([p[rows] for p in fine], K)
    np.testing.assert_allclose(answer.probabilities(data), average(fine, [shares(p[rows], clusters, K) for p in fine]))
    assert clustering_accuracy(Y, answer.probabilities(data).argmax(1)) > 0.99


def test_as_many_networks_are_linked_as_give_the_clusters_that_changed_images_tell_the_most_about(data):
    """The third network is better than the two best ones by the clusters themselves, or worse than them."""
    taken = []
    for right in ((0.7, 0.7, 0.99), (0.9, 0.9, 0.5)):
        stage = Networks((False,) * 3, (0.5, 0.4, 0.3), right)
        told = []
        for networks in ((0, 1), (0, 1, 2)):
            fine = stage.all_heads(networks, fine=True)
            clusters = link(fine, K)
            changed = [one for index in networks for one in np.swapaxes(stage.changed[index], 0, 1)]
            matrices = [shares(p, clusters, K) for p in fine]
            found, of_changed = (average(of, matrices).argmax(1) for of in (fine, changed))
            told.append(mutual_info_score([*found, *found], of_changed))
        found = linked(stage, data, [0, 1, 2])
        assert len(found.networks) == 2 + int(np.argmax(told))
        taken.append(len(found.networks))
    assert taken == [3, 2]
    assert linked(stage, data, [0]).networks == (0,)


def test_other_heads_are_matched_where_fine_clusters_link_to_too_few(data, monkeypatch):
    stage = Networks((False,) * 3, (0.5, 0.4, 0.3))
    monkeypatch.setattr(agreement, "link", lambda some, k: link(some, k) if len(some) == 3 * HEADS else None)
    assert linked(stage, data, [0, 1, 2]).networks == (0, 1, 2)  # those that do link
    monkeypatch.setattr(agreement, "link", lambda *args: None)
    answer, report = choose_answer(stage, data)
    assert (report["clusters"], report["heads"]) == ("matched", {"one_0": HEADS, "one_1": HEADS})
    assert "told_apart" not in report
    np.testing.assert_array_equal(answer.probabilities(data), matched(stage, data, [0, 1]).probabilities(data))


def test_a_network_that_diverged_is_neither_taken_nor_a_number_in_the_report(data):
    stage = Networks((True, True, False), (0.2, np.nan, np.nan))
    answer, report = choose_answer(stage, data)
    assert report == {
        "tries": {"one_0": 0.2, "one_1": None, "one_2": None}, "best": {"taught contrastive clusters": 0.2}, "heads": {"one_0": HEADS},
        "clusters": "matched",
    }  # fmt: skip
    assert np.isfinite(answer.probabilities(data)).all()
    assert choose_answer(Networks((True, False), (np.nan, 0.2)), data)[1]["clusters"] == "linked"
    with pytest.raises(ValueError, match="not finite; choose another init"):
        choose_answer(Networks((True, False), (np.nan, np.nan)), data)
