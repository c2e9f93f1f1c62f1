"""Linear-chain conditional random field: L = - log P(tags | text), P over all sequences of tags that are allowed.

    P(y | x) = exp s(x, y) / sum_y' exp s(x, y'),  s(x, y) = sum_t P[t, y_t] + sum_t A[y_t, y_t+1]

P: what the head says of each token; A: scores of one tag after another, of one at the beginning and of one at the end.
The sum over sequences is the forward algorithm's, the best one Viterbi's. Source: Lample et al. 2016, arXiv 1603.01360,
section 2.2, equation 1. All of it is computed in float32.

B texts, L tagged tokens of the longest, K tags, J = K + 1: the tags and the border of a text, N tagged tokens of all texts.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.bio import is_bio, is_bioes, may_follow
from hanlin.model.headed import Headed
from hanlin.objective.judged import headed
from hanlin.objective.tagging import by_text, span_f1, text_numbers, token_scores
from hanlin.objective.term import Objective, Ratio

FORBIDDEN = -1e4
"""The score of a transition that cannot be: in float32 its probability is 0, and its gradient is finite."""


class CrfTagging(Objective):
    """The tags of a whole text at once; tokens without a tag (`IGNORE`) are no part of the sequence.

    The loss counts by tokens, so that it has the scale of `Tagging`. Transitions that are invalid BIO or BIOES cannot be.
    """

    def count(self, batch: Batch) -> int:
        """Number of tokens that have a tag."""
        return int((batch.targets_BT != IGNORE).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """- log P of the tags, summed over texts, in nats."""
        return _loss(token_scores(model, batch), transitions_of(headed(model, "tag")), batch)

    def examine(self, model: nn.Module, batch: Batch) -> Mapping[str, Ratio]:
        """As of `Tagging`, of the most probable sequences."""
        scores_BTK, counted_BT = token_scores(model, batch), batch.targets_BT != IGNORE
        transitions_JJ, names = transitions_of(headed(model, "tag")), headed(model, "tag").config.label_names
        texts_N, truth_N = text_numbers(batch)[counted_BT], batch.targets_BT[counted_BT]
        said = [best_sequence(one, transitions_JJ) for one in by_text(scores_BTK[counted_BT], texts_N)]
        said_N = torch.tensor(
            [tag for tags in said for tag in tags], device=truth_N.device, dtype=torch.int64
        )
        values: dict[str, Ratio] = {
            "loss": (float(_loss(scores_BTK, transitions_JJ, batch)), len(truth_N)),
            "accuracy": (float((truth_N == said_N).sum()), len(truth_N)),
        }
        values["f1"] = span_f1(truth_N, said_N, texts_N, names) if is_bio(names) else values["accuracy"]
        return values


def _loss(scores_BTK: Tensor, transitions_JJ: Tensor, batch: Batch) -> Tensor:
    counted_BT = batch.targets_BT != IGNORE
    texts_N = text_numbers(batch)[counted_BT]
    if not len(texts_N):
        return scores_BTK.sum() * 0 + transitions_JJ.sum() * 0
    scores_BLK = pad_sequence(by_text(scores_BTK[counted_BT], texts_N), batch_first=True)
    tags_BL = pad_sequence(
        by_text(batch.targets_BT[counted_BT], texts_N), batch_first=True, padding_value=IGNORE
    )
    return (
        log_normalizer(scores_BLK, transitions_JJ, tags_BL != IGNORE)
        - sequence_score(scores_BLK, transitions_JJ, tags_BL)
    ).sum()


def transitions_of(model: Headed) -> Tensor:
    """(J, J) float32 scores [from, to] of a model that has them, those that cannot be at `FORBIDDEN`."""
    assert model.transitions is not None, "only a model with crf has scores of transitions"
    names, device = model.config.label_names, next(model.parameters()).device
    with torch.autocast(device.type, enabled=False):
        scores_JJ: Tensor = model.transitions(torch.eye(model.config.labels + 1, device=device)).float()
    return scores_JJ + forbidden_transitions(names or ("",) * model.config.labels).to(device)


def forbidden_transitions(names: Sequence[str]) -> Tensor:
    """(J, J) float32: 0 where a tag [from] may stand before another [to], else `FORBIDDEN`.

    Of tags of spans only valid sequences may be, of all others every one.
    """
    if not is_bio(names):
        return torch.zeros(len(names) + 1, len(names) + 1)
    bordered, ends = [*names, "O"], is_bioes(names)
    allowed = [[may_follow(before, tag, ends) for tag in bordered] for before in bordered]
    return torch.where(torch.tensor(allowed), 0.0, FORBIDDEN)


def log_normalizer(scores_BLK: Tensor, transitions_JJ: Tensor, real_BL: Tensor) -> Tensor:
    """log sum_y exp s(x, y) of each text, (B,). real_BL: False at padding, which is on the right."""
    K = scores_BLK.shape[2]
    between_KK = transitions_JJ[:K, :K]
    forward_BK = transitions_JJ[K, :K] + scores_BLK[:, 0].float()
    for place in range(1, scores_BLK.shape[1]):
        further_BK = (forward_BK.unsqueeze(2) + between_KK).logsumexp(1) + scores_BLK[:, place].float()
        forward_BK = torch.where(real_BL[:, place].unsqueeze(1), further_BK, forward_BK)
    return (forward_BK + transitions_JJ[:K, K]).logsumexp(1)


def sequence_score(scores_BLK: Tensor, transitions_JJ: Tensor, tags_BL: Tensor) -> Tensor:
    """s(x, y) of the given tags, (B,); `IGNORE` at padding, which is on the right."""
    K, real_BL = scores_BLK.shape[2], tags_BL != IGNORE
    border_B1 = tags_BL.new_full((len(tags_BL), 1), K)
    path = torch.cat([border_B1, torch.where(real_BL, tags_BL, K), border_B1], 1)
    said_BL = scores_BLK.float().gather(2, tags_BL.clamp(min=0).unsqueeze(2)).squeeze(2)
    after = F.pad(real_BL, (0, 1))  # from each place to the next; from the last one to the border
    after[torch.arange(len(path)), real_BL.sum(1)] = True
    return (said_BL * real_BL).sum(1) + (transitions_JJ[path[:, :-1], path[:, 1:]] * after).sum(1)


def best_sequence(scores_LK: Tensor, transitions_JJ: Tensor) -> list[int]:
    """The tags of the greatest score (Viterbi 1967)."""
    if not len(scores_LK):
        return []
    K, back = scores_LK.shape[1], list[Tensor]()
    best_K = transitions_JJ[K, :K] + scores_LK[0].float()
    for scores_K in scores_LK[1:]:
        best_K, from_K = (best_K.unsqueeze(1) + transitions_JJ[:K, :K]).max(0)
        best_K = best_K + scores_K.float()
        back.append(from_K)
    path = [int((best_K + transitions_JJ[:K, K]).argmax())]
    for from_K in reversed(back):
        path.append(int(from_K[path[-1]]))
    return path[::-1]


def marginals(scores_LK: Tensor, transitions_JJ: Tensor) -> Tensor:
    """P(tag at each place | text), (L, K): the gradient of the log-normaliser by the scores."""
    with torch.inference_mode(False), torch.enable_grad():
        scores_1LK = scores_LK.detach().clone().float().unsqueeze(0).requires_grad_()
        real_1L = torch.ones(scores_1LK.shape[:2], dtype=torch.bool)
        total = log_normalizer(scores_1LK, transitions_JJ.detach().clone(), real_1L).sum()
        (found_1LK,) = torch.autograd.grad(total, scores_1LK)
    found_LK: Tensor = found_1LK[0]
    return found_LK
